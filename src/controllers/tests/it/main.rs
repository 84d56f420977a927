//! The control loops through their front door: real controllers on the real embedded API server over a store in memory; the only thing
//! that is not real is the container engine. Every test waits for conditions, none for a time.
#![expect(clippy::unwrap_used, reason = "tests")]

mod again;
mod audits;
mod changes;
mod converge;
mod declared;
mod deletion;
mod engine_away;
mod foreign;
mod many;
mod orphans;
mod ports;
mod refused;
mod repair;
mod trouble;
mod unwritten;
mod values;
mod world;
