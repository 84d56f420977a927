//! The newest events in memory, for watchers that keep up. Older ones are read from the log by `watch`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::entry::Event;
use crate::open::Options;

/// The newest events, without a gap between them, bounded in number and in bytes.
#[derive(Debug)]
pub(crate) struct Recent {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Recent {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            max_events: options.recent_events,
            max_bytes: options.recent_bytes,
        }
    }

    pub(crate) fn extend(&mut self, events: Vec<Arc<Event>>) {
        self.bytes += events.iter().map(|event| event.size()).sum::<usize>();
        self.events.extend(events);
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.bytes -= oldest.size();
        }
    }

    /// Up to `limit` events after `revision` and not after `through`; `None` when the first of them is
    /// not here any more.
    pub(crate) fn after(
        &self,
        revision: u64,
        through: u64,
        limit: usize,
    ) -> Option<Vec<Arc<Event>>> {
        let oldest = self.events.front()?.revision;
        // Revisions have no gaps, so the distance is the index.
        let skip = usize::try_from((revision + 1).checked_sub(oldest)?).ok()?;
        let wanted = self.events.iter().skip(skip).take(limit);
        Some(
            wanted
                .take_while(|event| event.revision <= through)
                .cloned()
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::entry::{Entry, EventKind};

    fn event(revision: u64, size: usize) -> Arc<Event> {
        let entry = Entry {
            key: String::new(),
            value: Bytes::from(vec![0; size]),
            revision,
            created: revision,
        };
        Arc::new(Event {
            revision,
            key: String::new(),
            kind: EventKind::Created,
            entry,
            previous: None,
        })
    }

    fn recent(max_events: usize, max_bytes: usize) -> Recent {
        Recent::new(&Options {
            recent_events: max_events,
            recent_bytes: max_bytes,
            ..Options::default()
        })
    }

    fn revisions(events: Option<Vec<Arc<Event>>>) -> Option<Vec<u64>> {
        events.map(|events| events.iter().map(|event| event.revision).collect())
    }

    #[test]
    fn recent_events_start_exactly_after_the_revision_or_not_at_all() {
        let mut recent = recent(3, 1000);
        assert_eq!(revisions(recent.after(0, 9, 9)), None);
        recent.extend((1..=5).map(|revision| event(revision, 1)).collect());
        assert_eq!(revisions(recent.after(1, 9, 9)), None, "2 is gone");
        assert_eq!(revisions(recent.after(2, 9, 9)), Some(vec![3, 4, 5]));
        assert_eq!(revisions(recent.after(2, 4, 9)), Some(vec![3, 4]));
        assert_eq!(revisions(recent.after(3, 9, 1)), Some(vec![4]));
        assert_eq!(revisions(recent.after(5, 9, 9)), Some(vec![]));
    }

    #[test]
    fn recent_events_are_bounded_in_bytes_even_by_one_large_event() {
        let mut recent = recent(100, 50);
        recent.extend((1..=10).map(|revision| event(revision, 20)).collect());
        assert_eq!(revisions(recent.after(8, 99, 9)), Some(vec![9, 10]));
        assert_eq!(recent.bytes, 40);
        recent.extend(vec![event(11, 60)]);
        assert_eq!((recent.events.len(), recent.bytes), (0, 0));
        recent.extend(vec![event(12, 1)]);
        assert_eq!(revisions(recent.after(10, 99, 9)), None);
        assert_eq!(revisions(recent.after(11, 99, 9)), Some(vec![12]));
    }
}
