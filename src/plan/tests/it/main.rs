//! Plans through the public API: whole scenarios as golden text, and what holds in every world.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::format_push_string, reason = "golden text grows step by step")]

mod accidents;
mod desired;
mod drift;
mod engine;
mod faults;
mod fixtures;
mod group;
mod identity;
mod images;
mod instance;
mod invariants;
mod lifecycle;
mod networks;
mod order;
mod orphan;
mod ports;
mod removal;
mod report;
mod restart;
mod rollout;
mod service;
mod values;
mod world;
