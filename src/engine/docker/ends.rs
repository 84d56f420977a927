//! Ends by a kill whose reason the engine tells late. It may say that memory ran out only after it said that the container died, and older
//! engines then never show it on the container. What follows from an end is not here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clos_plan::observed::{Container, ContainerState};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::events::{ContainerEvent, Happened};

/// The code of a program that was killed.
const KILLED: i64 = 137;

/// What the engine says of one end comes within milliseconds.
const LATE: Duration = Duration::from_millis(100);

/// So many containers are remembered; those that are gone are forgotten before.
const REMEMBERED: usize = 1024;

/// What is known of the ends of containers beside what the engine shows.
#[derive(Debug, Default)]
pub(super) struct Ends {
    known: Mutex<BTreeMap<String, Known>>,
    heard: Notify,
}

/// Times by the engine's clock.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// When the container's memory ran out last.
    out_of_memory: Option<Timestamp>,
    /// The last end about which everything was heard.
    settled: Option<Timestamp>,
}

impl Ends {
    /// Notes what an event says.
    pub(super) fn hear(&self, event: &ContainerEvent) {
        match &event.what {
            Happened::OutOfMemory => {
                self.note(&event.id, |known| known.out_of_memory = Some(event.at));
                self.heard.notify_waiters();
            }
            Happened::Destroyed => drop(self.known().remove(&event.id)),
            Happened::Created
            | Happened::Started
            | Happened::Died { .. }
            | Happened::Killed { .. }
            | Happened::Stopped
            | Happened::Health
            | Happened::Paused
            | Happened::Unpaused
            | Happened::Changed => {}
        }
    }

    /// Says of a container with a limit of memory that it was killed for it, if the events said so. Waits a moment for that when its end
    /// is seen for the first time.
    pub(super) async fn settle(&self, container: &mut Container) {
        let limited = container.live.limits.memory.is_some();
        if let ContainerState::Exited {
            code: KILLED,
            oom_killed: oom_killed @ false,
            started_at,
            finished_at,
            ..
        } = &mut container.state
            && limited
        {
            *oom_killed = self.ran_out(&container.id, *started_at, *finished_at).await;
        }
    }

    async fn ran_out(&self, id: &str, started_at: Timestamp, finished_at: Timestamp) -> bool {
        let deadline = Instant::now() + LATE;
        loop {
            let mut heard = std::pin::pin!(self.heard.notified());
            heard.as_mut().enable();
            let known = self.known().get(id).copied().unwrap_or_default();
            if known.out_of_memory.is_some_and(|at| at >= started_at) {
                return true;
            }
            if known.settled == Some(finished_at) {
                return false;
            }
            if timeout_at(deadline, heard).await.is_err() {
                self.note(id, |known| known.settled = Some(finished_at));
                return false;
            }
        }
    }

    fn note(&self, id: &str, note: impl FnOnce(&mut Known)) {
        let mut known = self.known();
        note(known.entry(id.to_owned()).or_default());
        if known.len() > REMEMBERED {
            known.pop_first();
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::inspect;

    fn event(what: Happened, second: i64) -> ContainerEvent {
        ContainerEvent {
            installation: "here".to_owned(),
            instance_uid: "uid".to_owned(),
            namespace: "default".to_owned(),
            instance: "web-0".to_owned(),
            id: "0f".to_owned(),
            what,
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    /// A container that was started in second 100, ended in this one with this code, and has this limit of memory.
    fn ended(second: i64, code: i64, memory: i64) -> Container {
        let shown = serde_json::json!({
            "Id": "0f", "HostConfig": { "Memory": memory },
            "State": { "Status": "exited", "ExitCode": code, "OOMKilled": false,
                "StartedAt": "1970-01-01T00:01:40Z", "FinishedAt": Timestamp::from_second(second).unwrap().to_string() },
        });
        inspect::container(serde_json::from_value(shown).unwrap())
    }

    async fn seen(ends: &Ends, mut container: Container) -> bool {
        ends.settle(&mut container).await;
        match container.state {
            ContainerState::Exited { oom_killed, .. } => oom_killed,
            other => panic!("{other:?} is no end"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_that_ran_out_is_seen_whether_the_engine_tells_it_before_or_after_the_end() {
        let before = Ends::default();
        before.hear(&event(Happened::OutOfMemory, 120));
        assert!(seen(&before, ended(120, KILLED, 1 << 20)).await);

        let after = Ends::default();
        let (seen, ()) = tokio::join!(seen(&after, ended(120, KILLED, 1 << 20)), async {
            tokio::time::sleep(LATE / 2).await;
            after.hear(&event(Happened::OutOfMemory, 120));
        });
        assert!(seen);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_for_another_reason_is_waited_for_once() {
        let ends = Ends::default();
        let began = Instant::now();
        assert!(!seen(&ends, ended(120, KILLED, 1 << 20)).await);
        assert_eq!(began.elapsed(), LATE);
        assert!(!seen(&ends, ended(120, KILLED, 1 << 20)).await);
        assert_eq!(began.elapsed(), LATE, "it was seen before");
        assert!(!seen(&ends, ended(130, KILLED, 1 << 20)).await);
        assert_eq!(began.elapsed(), 2 * LATE, "it is another end");
    }

    #[tokio::test(start_paused = true)]
    async fn other_ends_and_other_runs_are_not_for_memory() {
        let ends = Ends::default();
        ends.hear(&event(Happened::OutOfMemory, 99));
        let earlier = seen(&ends, ended(120, KILLED, 1 << 20)).await;
        assert!(!earlier, "it was started after that");
        ends.hear(&event(Happened::OutOfMemory, 120));
        let began = Instant::now();
        assert!(!seen(&ends, ended(120, 1, 1 << 20)).await, "its own end");
        assert!(!seen(&ends, ended(120, KILLED, 0)).await, "no limit");
        assert_eq!(began.elapsed(), Duration::ZERO);
        ends.hear(&event(Happened::Destroyed, 121));
        assert!(
            !seen(&ends, ended(120, KILLED, 1 << 20)).await,
            "it is gone"
        );
    }
}
