//! The container engine behind one trait: observe it, carry out one action at a time, follow its events and logs. The only crate that
//! knows Docker; it decides nothing.
//!
//! In reading order: [`engine`] is the trait; [`error`] says what can go wrong and what may be tried again; [`events`] and [`logs`] are
//! its streams; [`docker`] is the real one; [`fake`] is one in memory that obeys the same rules, for tests.

pub mod docker;
pub mod engine;
pub mod error;
pub mod events;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod logs;

pub use engine::Engine;
pub use error::Error;
