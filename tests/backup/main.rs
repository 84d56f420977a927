//! Backups through the front door, and what an older, empty or copied store may do to a host: nothing that a person has not confirmed.
#![expect(clippy::unwrap_used, reason = "tests")]

mod backups;
mod copies;
mod older;
mod restored;
mod world;
