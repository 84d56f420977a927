//! What becomes of the store after a commit that failed: whether that was for want of space or because the disk is read-only, in which case it
//! recovers, or for good. When it is tried again is the writer's part.

use std::time::{Duration, Instant};

use crate::backend::{Fault, Source};
use crate::error::{Health, OpenError, ReadError};
use crate::open::{Loaded, Options, load, location, open_database, open_frozen};
use crate::shared::Slot;
use crate::writer::{State, Writer};

/// The least and the most time between two tries on a full disk.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

impl Writer {
    /// Decides what a failed transaction means for the store. redb takes no more writes after an I/O
    /// error, so a full disk is left behind by opening the database again.
    pub(crate) fn failed_commit(&mut self, attempted: &'static str, error: ReadError) {
        self.shared.counters.commit_failed();
        let started = Instant::now();
        let outcome = match self.shared.fault() {
            Some(Fault::NoSpace) => self
                .reopen(open_database)
                .map_err(|error| ("opening the database again", error)),
            Some(Fault::ReadOnly) => {
                if matches!(self.state, State::Writable) {
                    tracing::warn!(
                        "the data directory has become read-only; writes are refused until it can be written"
                    );
                }
                self.freeze(started);
                self.answer_maintenance();
                return;
            }
            Some(Fault::Read | Fault::Write) | None => Err((attempted, error.into())),
        };
        match outcome {
            Ok(()) => {
                // However large the database is, most of the time is not spent on opening it.
                let pause = (started.elapsed() * 10).clamp(RETRY_MIN, RETRY_MAX);
                if matches!(self.state, State::Writable) {
                    tracing::warn!("the disk is full; writes are refused until there is space");
                }
                self.state = State::Full {
                    until: Instant::now() + pause,
                    pause,
                    at_last: Instant::now() + RETRY_MAX,
                };
                self.shared.set_health(Health::NoSpace);
            }
            Err((attempted, error)) => {
                self.state = State::Failed(self.shared.fail(attempted, error));
            }
        }
        self.answer_maintenance();
    }

    /// Their turn would not come before the store is writable again, if ever.
    fn answer_maintenance(&mut self) {
        for waiting in std::mem::take(&mut self.maintenance) {
            waiting.answer(Err(self.refusal()));
        }
    }

    /// Leaves the failed database behind for one that is only read, until the next try.
    fn freeze(&mut self, started: Instant) {
        match self.reopen(open_frozen) {
            Ok(()) => self.stay_read_only(started),
            Err(error) => {
                let failure = self.shared.fail("opening the database to be read", error);
                self.state = State::Failed(failure);
            }
        }
    }

    fn stay_read_only(&mut self, started: Instant) {
        let pause = (started.elapsed() * 10).clamp(RETRY_MIN, RETRY_MAX);
        self.state = State::ReadOnly {
            until: Instant::now() + pause,
        };
        self.shared.set_health(Health::ReadOnly);
    }

    /// Opens the database to be written again; whether that could be done.
    pub(crate) fn thaw(&mut self) -> bool {
        let started = Instant::now();
        if self.source.is_read_only() {
            self.stay_read_only(started);
            return false;
        }
        let mut writable = true;
        let outcome = self.reopen(|source, options| match open_database(source, options) {
            Err(OpenError::NotWritable { .. } | OpenError::NoSpace { .. }) => {
                writable = false;
                open_frozen(source, options)
            }
            other => other,
        });
        match outcome {
            Ok(()) if !writable => self.stay_read_only(started),
            Ok(()) => {}
            Err(error) => {
                writable = false;
                let failure = self.shared.fail("opening the database again", error);
                self.state = State::Failed(failure);
            }
        }
        writable
    }

    fn reopen(
        &self,
        open: impl FnOnce(&Source, &Options) -> Result<Slot, OpenError>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let path = location(&self.source);
        // The pages are the ones this process has just had open; only a crash needs them verified, and
        // then redb does it unasked.
        let options = Options {
            verify: false,
            ..self.options.clone()
        };
        self.shared.reopen(|| {
            let slot = open(&self.source, &options)?;
            let Loaded { position, .. } = load(&slot.database, &path)?;
            if position != self.position {
                return Err("the commit that could not be written is there nevertheless".into());
            }
            Ok(slot)
        })
    }
}
