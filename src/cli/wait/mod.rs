//! Waiting until what was applied is as declared. It watches and never asks twice; [`progress`] and [`tracker`] decide, [`board`] shows,
//! [`failure`] says what went wrong.

mod board;
mod failure;
mod progress;
#[cfg(test)]
mod tests;
mod tracker;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;

use clos_engine::Engine;
use clos_resources::duration::Duration;
use clos_telemetry::Chain;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::Ending;
use crate::live::{Live, Snapshot, is_final};
use crate::output;
use board::Board;
use progress::Progress;
pub(crate) use tracker::Subject;
use tracker::{Tracker, Verdict, World};

/// What is waited for, and how long.
pub(crate) struct Wait {
    /// The objects.
    pub(crate) subjects: BTreeSet<Subject>,
    /// Whether `Secret`s or `ConfigMap`s were created or changed along with them.
    pub(crate) values_changed: bool,
    /// The deadline.
    pub(crate) timeout: Duration,
}

/// Waits until everything is as declared, something failed, the deadline has passed or somebody presses Ctrl-C. The engine is for the
/// output of a container that failed; without one, the reason why there is none is said.
pub(crate) async fn until_as_declared(
    client: &Client,
    engine: Result<&dyn Engine, &str>,
    wait: Wait,
) -> anyhow::Result<Ending> {
    let Wait {
        subjects,
        values_changed,
        timeout,
    } = wait;
    let namespaces: BTreeSet<String> = subjects
        .iter()
        .map(|subject| subject.namespace().to_owned())
        .collect();
    let mut live = Live::of(client, &namespaces);
    let mut tracker = Tracker::new(subjects, values_changed);
    let mut board = Board::new(tracker.subjects(), std::io::stderr().is_terminal());
    let end = follow(&mut live, &mut tracker, &mut board, timeout).await;
    board.close();
    match end? {
        End::Done => Ok(Ending::Done),
        End::Interrupted => {
            output::note(
                "\nStopped waiting. What was applied stays applied, and clos goes on with it. See: clos status",
            )?;
            Ok(Ending::Interrupted)
        }
        End::Overdue => {
            let open = tracker.open(timeout.get());
            output::note(failure::overdue(&timeout.to_string(), open).trim_end())?;
            Ok(Ending::Deadline)
        }
        End::Failed(snapshot) => {
            output::note(describe(&tracker, &snapshot, engine).await.trim_end())?;
            Ok(Ending::NotAsAsked)
        }
    }
}

enum End {
    Done,
    Interrupted,
    Overdue,
    Failed(Snapshot),
}

async fn follow(
    live: &mut Live,
    tracker: &mut Tracker,
    board: &mut Board,
    timeout: Duration,
) -> anyhow::Result<End> {
    let begin = Instant::now();
    let deadline = begin + timeout.get();
    // From here on Ctrl-C ends the waiting and nothing else.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut lost = false;
    loop {
        let mut look_again = None;
        if let Some(snapshot) = live.snapshot() {
            let verdict = look(tracker, &snapshot, begin.elapsed());
            for (subject, tracked) in tracker.tracked() {
                board.show(subject, tracked)?;
            }
            match verdict {
                Verdict::Done => return Ok(End::Done),
                Verdict::Failed => return Ok(End::Failed(snapshot)),
                Verdict::Open(at) => look_again = at.map(|at| begin + at),
            }
        }
        tokio::select! {
            change = live.changed() => match change {
                Ok(()) => lost = false,
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => {
                    if !lost {
                        board.note(&format!("The server does not answer, trying again: {}", Chain(&error)))?;
                    }
                    lost = true;
                }
            },
            () = tokio::time::sleep_until(look_again.unwrap_or(deadline).min(deadline)) => {
                if Instant::now() >= deadline {
                    return Ok(End::Overdue);
                }
            }
            _ = interrupt.recv() => return Ok(End::Interrupted),
        }
    }
}

fn look(tracker: &mut Tracker, snapshot: &Snapshot, now: std::time::Duration) -> Verdict {
    let services: Vec<_> = snapshot.services.iter().map(Arc::as_ref).collect();
    let groups: Vec<_> = snapshot.groups.iter().map(Arc::as_ref).collect();
    let instances: Vec<_> = snapshot.instances.iter().map(Arc::as_ref).collect();
    tracker.look(
        World {
            services: &services,
            groups: &groups,
            instances: &instances,
        },
        now,
    )
}

/// What to say of everything that failed. A Group that failed with one of its Services adds nothing.
async fn describe(
    tracker: &Tracker,
    snapshot: &Snapshot,
    engine: Result<&dyn Engine, &str>,
) -> String {
    let service_failed = tracker.tracked().any(|(subject, tracked)| {
        matches!(
            (subject, &tracked.standing.progress),
            (Subject::Service { .. }, Progress::Failed { .. })
        )
    });
    let mut text = String::new();
    for (subject, tracked) in tracker.tracked() {
        let Progress::Failed { words, instance } = &tracked.standing.progress else {
            continue;
        };
        if service_failed && matches!(subject, Subject::Group { .. }) {
            continue;
        }
        let failed = snapshot.instances.iter().find(|found| {
            found.metadata.name == *instance
                && instance.is_some()
                && found.metadata.namespace.as_deref() == Some(subject.namespace())
        });
        let shown = failure::read(engine, failed.map(Arc::as_ref)).await;
        text.push_str(&failure::text(subject, words, instance.as_deref(), &shown));
    }
    text
}
