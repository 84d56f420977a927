//! clos through its front door: the real binary, a real engine, real kubectl. Each module is one subject; `server` is the harness.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cli;
mod desired;
mod identity;
mod images;
mod kubectl;
mod repair;
mod server;
mod start;
