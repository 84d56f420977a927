//! clos on a host in trouble, through its front door: no space, no writes, few descriptors, little memory, a wrong clock, floods of output,
//! programs that do not run, many that do. Each module is one kind of trouble; `api` and `machine` are what they look and make it with.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![cfg(target_os = "linux")]

mod api;
mod clock;
mod descriptors;
mod flood;
mod fsync;
mod full;
mod idle;
mod machine;
mod memory;
mod read_only;
mod trouble;
