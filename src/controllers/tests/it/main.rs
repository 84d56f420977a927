//! The control loops through their front door: real controllers on the real embedded API server over a store in memory; the only thing
//! that is not real is the container engine. Every test waits for conditions, none for a time.
#![expect(clippy::unwrap_used, reason = "tests")]

mod audits;
mod converge;
mod deletion;
mod engine_away;
mod foreign;
mod many;
mod ports;
mod repair;
mod values;
mod world;
