//! The engine crate against a real engine: that Docker behaves as clos believes, and that clos reads it right. Every test makes things of
//! its own and takes them away again. Planning is not here.

#![expect(clippy::unwrap_used, reason = "tests")]

mod attachments;
mod bench;
mod image;
mod images;
mod lifecycle;
mod streams;
