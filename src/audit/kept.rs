//! Events that the store could not take, in memory and in order until it does. When to try again is the journal's part.

use std::collections::VecDeque;

use clos_auth::Identity;
use jiff::Timestamp;

use crate::event::{Event, Outcome};
use crate::object::Object;

/// So many events are kept: about as many MB as thousands.
const MOST: usize = 4096;

/// What waits to be recorded.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    events: VecDeque<Happened>,
    lost: Option<Lost>,
}

/// An event, and when it happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happened {
    pub(crate) event: Event,
    pub(crate) at: Timestamp,
}

/// Events that were too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) count: u64,
    /// When the first of them happened.
    pub(crate) first: Timestamp,
    /// When the last one did.
    pub(crate) last: Timestamp,
}

/// What is to be recorded next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    Event(Box<Happened>),
    /// Everything before is recorded.
    Lost(Lost),
}

impl Next {
    /// What is recorded of it.
    pub(crate) fn to_event(&self) -> Happened {
        match self {
            Self::Event(happened) => happened.as_ref().clone(),
            Self::Lost(lost) => Happened {
                event: lost.to_event(),
                at: lost.last,
            },
        }
    }
}

impl Lost {
    fn to_event(self) -> Event {
        Event {
            cause: Some("the disk was full for too long".to_owned()),
            actions: vec![format!(
                "{} more events from {:.0} to {:.0} are not recorded",
                self.count, self.first, self.last
            )],
            ..Event::new(
                &Identity::component("audit:journal"),
                "lose",
                Object::path("/audit"),
                Outcome::Failed,
            )
        }
    }
}

impl Kept {
    /// Takes an event in; one that is too many is only counted. Once one was, so are those after it: a gap is then in one place.
    pub(crate) fn push(&mut self, happened: Happened) {
        match &mut self.lost {
            Some(lost) => {
                lost.count += 1;
                lost.last = happened.at;
            }
            None if self.events.len() < MOST => self.events.push_back(happened),
            None => {
                self.lost = Some(Lost {
                    count: 1,
                    first: happened.at,
                    last: happened.at,
                });
            }
        }
    }

    pub(crate) fn next(&self) -> Option<Next> {
        let oldest = self.events.front().cloned();
        let oldest = oldest.map(|happened| Next::Event(Box::new(happened)));
        oldest.or_else(|| self.lost.map(Next::Lost))
    }

    /// What was next is recorded.
    pub(crate) fn recorded(&mut self, next: &Next) {
        match next {
            Next::Event(_) => drop(self.events.pop_front()),
            Next::Lost(told) => {
                // More may have been lost since.
                self.lost = self.lost.and_then(|lost| {
                    let count = lost
                        .count
                        .checked_sub(told.count)
                        .filter(|count| *count > 0)?;
                    Some(Lost {
                        count,
                        first: told.last,
                        last: lost.last,
                    })
                });
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost.is_none()
    }

    /// How many events there are, those that were too many included.
    pub(crate) fn len(&self) -> u64 {
        self.events.len() as u64 + self.lost.map_or(0, |lost| lost.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn happened(second: i64) -> Happened {
        let actor = Identity::component("controller:instance");
        Happened {
            event: Event::new(&actor, "reconcile", Object::path("/"), Outcome::Repaired),
            at: at(second),
        }
    }

    #[test]
    fn what_is_kept_comes_out_in_order_and_once() {
        let mut kept = Kept::default();
        kept.push(happened(1));
        kept.push(happened(2));
        for second in [1, 2] {
            let next = kept.next().unwrap();
            assert_eq!(next, Next::Event(Box::new(happened(second))));
            kept.recorded(&next);
        }
        assert!(kept.is_empty());
        assert_eq!(kept.next(), None);
    }

    #[test]
    fn what_is_too_much_is_counted_and_told_after_all_that_is_kept() {
        let mut kept = Kept::default();
        let most = i64::try_from(MOST).unwrap();
        for second in 0..most + 3 {
            kept.push(happened(second));
        }
        assert_eq!(kept.len(), MOST as u64 + 3);
        for _ in 0..MOST {
            let next = kept.next().unwrap();
            assert!(matches!(next, Next::Event(_)));
            kept.recorded(&next);
        }
        let told = kept.next().unwrap();
        let lost = Lost {
            count: 3,
            first: at(most),
            last: at(most + 2),
        };
        assert_eq!(told, Next::Lost(lost));
        assert_eq!(
            told.to_event().event.actions,
            ["3 more events from 1970-01-01T01:08:16Z to 1970-01-01T01:08:18Z are not recorded"]
        );
        kept.push(happened(most + 3));
        kept.recorded(&told);
        let rest = kept.next().unwrap();
        let lost = Lost {
            count: 1,
            first: at(most + 2),
            last: at(most + 3),
        };
        assert_eq!(rest, Next::Lost(lost));
        kept.recorded(&rest);
        assert!(kept.is_empty());
    }
}
