//! What was done, by whom and why: one append-only journal of events, kept in the store.
//!
//! A mutation hands its event to the store together with its write ([`Journal::within`]): both
//! are durable or neither is. Everything else is recorded by itself ([`Journal::record`]). Passes
//! that find nothing to do write nothing; they are counted, and the object's next event carries
//! the number ([`Journal::noop`]). What was done outside of the store cannot be taken back when the disk
//! is full: such events are kept in memory until it is not ([`Journal::record_or_keep`]).
//!
//! Parts, in reading order: [`object`] says what an event is about, [`event`] what happened,
//! [`redact`] what must not be told, [`journal`] writes, with `idle` and `kept`, [`query`] reads and follows,
//! [`retention`] forgets, [`export`] copies to a file.

pub mod event;
pub mod export;
mod idle;
pub mod journal;
mod kept;
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
