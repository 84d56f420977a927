//! The server killed in the middle of things, and started again: wherever it dies, the next start finishes the work, makes nothing twice
//! and forgets nothing it acknowledged. `shop` is what runs, `right` what must be so afterwards; the others are the ways to die.
#![expect(clippy::unwrap_used, reason = "tests")]

mod audit;
mod cases;
mod points;
mod random;
mod right;
mod shop;
mod stopping;
