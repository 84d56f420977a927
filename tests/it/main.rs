//! clos through its front door: the real binary, a real engine, real kubectl. Each module is one subject; `server` is the harness.
#![expect(clippy::unwrap_used, reason = "tests")]

mod server;
