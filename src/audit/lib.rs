//! What was done, by whom and why: one append-only journal of events, kept in the store.
//!
//! A mutation hands its event to the store together with its write ([`Journal::within`]): both
//! are durable or neither is. Everything else is recorded by itself ([`Journal::record`]). Passes
//! that find nothing to do write nothing; they are counted, and the object's next event carries
//! the number ([`Journal::noop`]).
//!
//! Parts, in reading order: [`object`] says what an event is about, [`event`] what happened,
//! [`redact`] what must not be told, [`journal`] writes, [`query`] reads and follows,
//! [`retention`] forgets, [`export`] copies to a file.

pub mod event;
pub mod export;
mod idle;
pub mod journal;
mod log_file;
pub mod object;
pub mod query;
pub mod redact;
pub mod retention;

pub use event::{Entry, Event, Outcome, Request};
pub use journal::{Journal, JournalError};
pub use log_file::Sink;
pub use object::{Object, ObjectRef};
pub use query::{Filter, Order};
pub use redact::Redactor;
pub use retention::Retention;
