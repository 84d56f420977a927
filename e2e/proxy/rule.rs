//! Which request fails how. Carrying a fault out is `forward`'s and `events`' work.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::operation::Operation;

/// How a request fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The engine is asked only after this time.
    DelayRequest(Duration),
    /// The engine is asked at once, and its answer given after this time.
    DelayAnswer(Duration),
    /// The engine is not asked until the rule is disarmed, and never when the client leaves before.
    HangBefore,
    /// The engine carries it out, and its answer is kept until the rule is disarmed.
    HangAfter,
    /// There is no answer. The engine is asked after this time, though nobody waits for it any more.
    Late(Duration),
    /// The engine is not asked: this status answers, with this body.
    Answer(u16, String),
    /// The connection is closed before the engine is asked.
    CutBefore,
    /// The engine carries it out, and the connection is closed instead of its answer.
    CutAfter,
    /// The answer breaks off after so many bytes of its body.
    CutBody(usize),
    /// The event stream is not what the engine sends.
    Events(EventFault),
}

/// What is wrong with an event stream.
#[derive(Clone, Debug)]
pub enum EventFault {
    /// It breaks off in the middle of the next line.
    HalfLine,
    /// Each line comes twice.
    Duplicate,
    /// Lines that come within a tenth of a second, at most so many, come in an order made of this seed.
    Reorder(usize, u64),
    /// Of a hundred lines so many are lost, chosen by this seed.
    Drop(u8, u64),
    /// Lines that the engine never sent come between its own.
    Flood(Flood),
    /// Nothing comes until the rule is disarmed, and then everything.
    Stall,
    /// It ends at once, properly.
    End,
}

/// A flood of lines.
#[derive(Clone)]
pub struct Flood {
    /// How many in a second.
    pub per_second: u64,
    /// How many in all.
    pub total: u64,
    /// The n-th line, without its end.
    pub line: Arc<dyn Fn(u64) -> String + Send + Sync>,
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines, {} a second", self.total, self.per_second)
    }
}

impl Fault {
    /// A refusal in the engine's form.
    pub fn refuse(status: u16) -> Self {
        Self::Answer(
            status,
            format!(r#"{{"message":"the proxy answers {status}"}}"#),
        )
    }
}

/// Which requests fail how.
#[derive(Clone, Debug)]
pub struct Rule {
    operation: Option<Operation>,
    when: When,
    fault: Fault,
}

#[derive(Clone, Debug)]
enum When {
    Nth(u64),
    Each,
    Share(u8, Box<StdRng>),
}

impl Rule {
    /// The next request of this kind.
    pub fn once(operation: Operation, fault: Fault) -> Self {
        Self::nth(operation, 1, fault)
    }

    /// The n-th request of this kind from now on; the next one is the first.
    pub fn nth(operation: Operation, nth: u64, fault: Fault) -> Self {
        Self {
            operation: Some(operation),
            when: When::Nth(nth),
            fault,
        }
    }

    /// Every request of this kind.
    pub fn each(operation: Operation, fault: Fault) -> Self {
        Self {
            operation: Some(operation),
            when: When::Each,
            fault,
        }
    }

    /// Every request.
    pub fn always(fault: Fault) -> Self {
        Self {
            operation: None,
            when: When::Each,
            fault,
        }
    }

    /// Of a hundred requests of any kind so many, chosen by this seed.
    pub fn share(per_cent: u8, seed: u64, fault: Fault) -> Self {
        Self {
            operation: None,
            when: When::Share(per_cent, Box::new(StdRng::seed_from_u64(seed))),
            fault,
        }
    }
}

/// A rule that holds until it is disarmed.
#[derive(Clone, Debug)]
pub struct Armed {
    struck: Arc<AtomicU64>,
    lifted: CancellationToken,
}

impl Armed {
    /// How many requests it made fail.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }

    /// It holds no more. Requests that it keeps waiting go on.
    pub fn disarm(&self) {
        self.lifted.cancel();
    }
}

/// A fault that befell a request.
pub(crate) struct Struck {
    pub(crate) fault: Fault,
    /// The rule was disarmed.
    pub(crate) lifted: CancellationToken,
}

/// The rules that hold, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Rules(Mutex<Vec<Held>>);

#[derive(Debug)]
struct Held {
    rule: Rule,
    seen: u64,
    armed: Armed,
}

impl Rules {
    pub(crate) fn arm(&self, rule: Rule) -> Armed {
        let armed = Armed {
            struck: Arc::default(),
            lifted: CancellationToken::new(),
        };
        let held = Held {
            rule,
            seen: 0,
            armed: armed.clone(),
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(held);
        armed
    }

    pub(crate) fn disarm_all(&self) {
        for held in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            held.armed.disarm();
        }
    }

    /// What befalls a request of this kind, if anything. Every rule for it counts it; the newest that wants it has it.
    pub(crate) fn strike(&self, operation: Operation) -> Option<Struck> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rules.retain(|held| !held.armed.lifted.is_cancelled());
        let mut struck = None;
        for held in rules.iter_mut().rev() {
            if held.rule.operation.is_some_and(|only| only != operation) {
                continue;
            }
            held.seen += 1;
            let wanted = match &mut held.rule.when {
                When::Nth(nth) => held.seen == *nth,
                When::Each => true,
                When::Share(per_cent, dice) => dice.random_range(0..100) < *per_cent,
            };
            if wanted && struck.is_none() {
                held.armed.struck.fetch_add(1, Ordering::SeqCst);
                struck = Some(Struck {
                    fault: held.rule.fault.clone(),
                    lifted: held.armed.lifted.clone(),
                });
            }
        }
        struck
    }
}
