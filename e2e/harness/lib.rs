//! What tests through the front door share: a `clos serve` of a test's own, the engine, and waiting for conditions. What only looks at them
//! does so in process, because the machine has to carry every program that is started beside what is waited for; what changes something is
//! done by the programs that people use. Everything made here is removed when the test ends, however it ends. No test lives here.
//!
//! In reading order: `setup` (what a server is started with), `server` (its process and containers), `objects` (what its API shows), `api`,
//! `engine`, `socket` (a look at it), `second` (an engine of a test's own), `command`, `wait`.
#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test that asked for it"
)]

mod api;
mod command;
mod engine;
mod objects;
mod second;
mod server;
mod setup;
mod socket;
mod wait;

pub use api::{Answer, Api};
pub use command::{Lines, kubectl_program, repository, signal, spawn, succeeded};
pub use engine::{Engine, Foreign, IMAGE, Listed, docker, inspect};
pub use second::SecondEngine;
pub use server::Server;
pub use setup::{Setup, WEB};
pub use wait::{PATIENCE, wait_until, wait_until_right, wait_until_within};
