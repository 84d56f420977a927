//! The one thread that changes anything: it takes what is queued, commits it together, publishes,
//! answers. What a write does to the tables is in `transaction`, slices of housekeeping in
//! `maintenance`, what follows from a commit that failed in `recovery`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::WriteTransaction;
use tokio::sync::{mpsc, watch};

use crate::backend::Source;
use crate::containment::contained;
use crate::entry::Event;
use crate::error::{CommitError, Failure, Health, ReadError};
use crate::maintenance::{Slice, compact_slice, trim_slice};
use crate::open::Options;
use crate::shared::Shared;
use crate::tables::Position;
use crate::transaction::{Answer, Batch};
use crate::write::{Maintenance, Request, Write};

/// A batch takes no more writes beyond this many bytes of values.
const BATCH_BYTES: usize = 8 << 20;

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) source: Source,
    pub(crate) options: Options,
    requests: mpsc::Receiver<Request>,
    head: watch::Sender<u64>,
    journal_head: watch::Sender<u64>,
    pub(crate) position: Position,
    last_record: Option<Bytes>,
    pub(crate) maintenance: VecDeque<Maintenance>,
    pub(crate) state: State,
}

/// Whether writes are taken.
pub(crate) enum State {
    Writable,
    /// Until then writes are refused without a try, because each costs opening the database again.
    Full {
        until: Instant,
        pause: Duration,
        /// Without space, too, a try is made in the end: the file itself may have pages that are free by now.
        at_last: Instant,
    },
    /// Until then writes are refused; the database is open to be read.
    ReadOnly {
        until: Instant,
    },
    Failed(Failure),
}

/// What comes next.
enum Turn {
    /// Writes to commit, and a slice of maintenance. On a full disk even without writes, as a probe.
    Work(Vec<Write>),
    /// The disk is still full, or read-only.
    Refuse(Request),
    /// Time has passed; look again.
    Wait,
    /// All stores are dropped.
    End,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        source: Source,
        options: Options,
        requests: mpsc::Receiver<Request>,
        (head, journal_head): (watch::Sender<u64>, watch::Sender<u64>),
        position: Position,
        last_record: Option<Bytes>,
    ) -> Self {
        Self {
            shared,
            source,
            options,
            requests,
            head,
            journal_head,
            position,
            last_record,
            maintenance: VecDeque::new(),
            state: State::Writable,
        }
    }

    /// Works until all stores are dropped. A panic becomes the store's failure.
    pub(crate) fn run(self) {
        let shared = Arc::clone(&self.shared);
        if let Err(panic) = contained(|| self.work()) {
            shared.fail("running its writer", panic);
        }
    }

    fn work(mut self) {
        // Only a full or read-only disk needs a wait with an end, and the queue is tokio's.
        let clock = match tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
        {
            Ok(clock) => clock,
            Err(error) => {
                self.shared.fail("starting its writer", error);
                return;
            }
        };
        loop {
            match self.next(&clock) {
                Turn::Work(writes) => {
                    self.commit(writes);
                    if let Some(maintenance) = self.maintenance.pop_front() {
                        self.maintain(maintenance);
                    }
                }
                Turn::Refuse(request) => {
                    let error = self.refusal();
                    match request {
                        Request::Write(write) => write.refuse(error),
                        Request::Maintain(maintenance) => maintenance.answer(Err(error)),
                    }
                }
                Turn::Wait => {}
                Turn::End => return,
            }
        }
    }

    fn next(&mut self, clock: &tokio::runtime::Runtime) -> Turn {
        match self.state {
            State::Failed(_) => match self.requests.blocking_recv() {
                Some(request) => Turn::Refuse(request),
                None => Turn::End,
            },
            // Also when refused writes come again faster than they can be refused.
            State::Full {
                until,
                pause,
                at_last,
            } if until <= Instant::now() => {
                if at_last <= Instant::now() || self.source.has_space() {
                    return Turn::Work(self.drain(None));
                }
                self.state = State::Full {
                    until: Instant::now() + pause,
                    pause,
                    at_last,
                };
                Turn::Wait
            }
            State::ReadOnly { until } if until <= Instant::now() => {
                if self.thaw() {
                    // A commit says whether it is so.
                    return Turn::Work(self.drain(None));
                }
                Turn::Wait
            }
            State::Full { until, .. } | State::ReadOnly { until } => {
                let received = clock.block_on(async {
                    tokio::time::timeout_at(until.into(), self.requests.recv()).await
                });
                match received {
                    Ok(Some(request)) => Turn::Refuse(request),
                    Ok(None) => Turn::End,
                    Err(_elapsed) => Turn::Wait,
                }
            }
            State::Writable if !self.maintenance.is_empty() => Turn::Work(self.drain(None)),
            State::Writable => match self.requests.blocking_recv() {
                Some(first) => Turn::Work(self.drain(Some(first))),
                None => Turn::End,
            },
        }
    }

    /// What has queued up, as far as it fits into one batch.
    fn drain(&mut self, first: Option<Request>) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut bytes = 0;
        let mut next = first.or_else(|| self.requests.try_recv().ok());
        while let Some(request) = next {
            match request {
                Request::Write(write) => {
                    bytes += write.size();
                    writes.push(write);
                }
                Request::Maintain(maintenance) => self.maintenance.push_back(maintenance),
            }
            let full = writes.len() >= self.options.batch || bytes >= BATCH_BYTES;
            next = if full {
                None
            } else {
                self.requests.try_recv().ok()
            };
        }
        writes
    }

    fn commit(&mut self, writes: Vec<Write>) {
        let probe = matches!(self.state, State::Full { .. } | State::ReadOnly { .. });
        if writes.is_empty() && !probe {
            return;
        }
        let started = Instant::now();
        let mut batch = Batch::new(self.position, self.last_record.clone());
        let mut writes = writes.into_iter();
        if let Err(error) = self.transact(&mut batch, &mut writes, probe) {
            self.failed_commit("committing", error);
            for answer in batch.answers {
                answer.refuse(self.refusal());
            }
            for write in writes {
                write.refuse(self.refusal());
            }
            return;
        }
        self.state = State::Writable;
        if probe {
            self.shared.set_health(Health::Writable);
            tracing::info!("the disk can be written again; writes are taken");
        }
        let refused = batch
            .answers
            .iter()
            .filter(|answer| answer.is_refusal())
            .count() as u64;
        let done = batch.answers.len() as u64 - refused;
        if done > 0 {
            self.shared
                .counters
                .committed(done, batch.bytes, started.elapsed());
        }
        self.shared.counters.refused(refused);
        self.publish(batch.position, batch.events);
        self.last_record = batch.last_record;
        batch.answers.into_iter().for_each(Answer::send);
    }

    /// Applies and commits. Nothing is written when every write was refused, unless `always`.
    fn transact(
        &self,
        batch: &mut Batch,
        writes: &mut impl Iterator<Item = Write>,
        always: bool,
    ) -> Result<(), ReadError> {
        let transaction = self.begin()?;
        batch.apply(&transaction, writes)?;
        if batch.position == self.position && !always {
            transaction.abort()?;
            return Ok(());
        }
        commit(transaction)
    }

    fn publish(&mut self, position: Position, events: Vec<Arc<Event>>) {
        // Events before the head: whoever sees the head finds them.
        self.shared.remember(events);
        if position.revision != self.position.revision {
            self.head.send_replace(position.revision);
        }
        if position.seq != self.position.seq {
            self.journal_head.send_replace(position.seq);
        }
        if position.compacted != self.position.compacted {
            self.shared.publish_compacted(position.compacted);
        }
        self.position = position;
    }

    /// One slice; the rest waits for the next turn.
    fn maintain(&mut self, maintenance: Maintenance) {
        if !matches!(self.state, State::Writable) {
            maintenance.answer(Err(self.refusal()));
            return;
        }
        let mut position = self.position;
        match self.slice(&maintenance, &mut position) {
            Ok(slice) => {
                self.publish(position, Vec::new());
                if slice.done {
                    maintenance.answer(Ok(()));
                } else {
                    self.maintenance.push_back(maintenance);
                }
            }
            Err(error) => {
                self.failed_commit("removing old records", error);
                maintenance.answer(Err(self.refusal()));
            }
        }
    }

    fn slice(
        &self,
        maintenance: &Maintenance,
        position: &mut Position,
    ) -> Result<Slice, ReadError> {
        let transaction = self.begin()?;
        let slice = match maintenance {
            Maintenance::Compact { through, .. } => {
                compact_slice(&transaction, position, *through)?
            }
            Maintenance::Trim { below, .. } => trim_slice(&transaction, position, *below)?,
        };
        if slice.removed > 0 {
            commit(transaction)?;
        } else {
            transaction.abort()?;
        }
        Ok(slice)
    }

    fn begin(&self) -> Result<WriteTransaction, ReadError> {
        self.shared
            .begin_write()
            .map_err(|error| ReadError::Unreadable(Box::new(error)))
    }

    /// What a write is answered in a state that takes none.
    pub(crate) fn refusal(&self) -> CommitError {
        match &self.state {
            State::Writable | State::Full { .. } => CommitError::NoSpace,
            State::ReadOnly { .. } => CommitError::ReadOnly,
            State::Failed(failure) => CommitError::Failed(failure.clone()),
        }
    }
}

fn commit(transaction: WriteTransaction) -> Result<(), ReadError> {
    transaction
        .commit()
        .map_err(|error| ReadError::Unreadable(Box::new(error.into())))
}
