//! Sources against the real embedded API, in memory.

#![expect(clippy::unwrap_used, reason = "tests")]

mod apply;
mod directory;
mod support;
