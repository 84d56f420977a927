//! A container engine that fails in every way: single calls that are refused, cut off or never answered, event streams that lie, an engine
//! that is killed or hangs. Through the front door, over a proxy that fails as it is told; the engine behind it is a real one.
#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
mod events;
mod hanging;
mod restarts;
mod world;
