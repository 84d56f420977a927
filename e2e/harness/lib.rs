//! What tests through the front door share: a `clos serve` of a test's own, the engine as the `docker` client shows it, and waiting for
//! conditions. Everything made here is removed when the test ends, however it ends. No test lives here.
//!
//! In reading order: `setup` (what a server is started with), `server` (its process and what it sees), `engine`, `second` (an engine of a
//! test's own), `command`, `wait`.
#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test that asked for it"
)]

mod command;
mod engine;
mod second;
mod server;
mod setup;
mod wait;

pub use command::{Lines, kubectl_program, repository, signal, spawn, succeeded};
pub use engine::{Engine, Foreign, IMAGE, docker, inspect};
pub use second::SecondEngine;
pub use server::Server;
pub use setup::{Setup, WEB};
pub use wait::{PATIENCE, wait_until, wait_until_within};
