//! The API through its front door: every test goes through the real router, over the store in memory.
#![expect(clippy::unwrap_used, reason = "tests")]

mod audits;
mod backups;
mod deletion;
mod kubectl;
mod lifetime;
mod reads;
mod refusals;
mod socket;
mod support;
mod typed;
mod watches;
mod writes;
