//! clos through its front door: the real binary, a real engine, real kubectl. Each module is one subject; the harness is the crate `clos-harness`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cli;
mod desired;
mod engines;
mod follow;
mod identity;
mod images;
mod kubectl;
mod pulls;
mod registry;
mod repair;
mod start;
