//! Whether the server is ready, and if not, why: each part that must come up says so itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The parts that are not ready yet, each with a reason. Clones share it.
#[derive(Clone)]
pub(crate) struct Readiness {
    waiting: Arc<Mutex<BTreeMap<String, String>>>,
    changed: watch::Sender<bool>,
}

impl Readiness {
    /// Nothing to wait for.
    pub(crate) fn new() -> Self {
        Self {
            waiting: Arc::default(),
            changed: watch::Sender::new(true),
        }
    }

    /// A part is not ready, and why.
    pub(crate) fn wait_for(&self, part: &str, reason: impl Into<String>) {
        self.change(|waiting| {
            waiting.insert(part.to_owned(), reason.into());
        });
    }

    /// A part is ready.
    pub(crate) fn ready(&self, part: &str) {
        self.change(|waiting| {
            waiting.remove(part);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting);
        self.changed.send_replace(waiting.is_empty());
    }

    /// `Err` with every reason when something is not ready.
    pub(crate) fn check(&self) -> Result<(), String> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return Ok(());
        }
        let reasons: Vec<String> = waiting
            .iter()
            .map(|(part, reason)| format!("{part}: {reason}"))
            .collect();
        Err(reasons.join("; "))
    }

    /// Resolves when everything is ready.
    pub(crate) async fn until_ready(&self) {
        let mut changed = self.changed.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = changed.wait_for(|ready| *ready).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_ready_when_nothing_is_left_to_wait_for() {
        let readiness = Readiness::new();
        readiness.wait_for("source ./shop", "not read yet");
        readiness.wait_for("controllers", "not synced yet");
        assert_eq!(
            readiness.check().unwrap_err(),
            "controllers: not synced yet; source ./shop: not read yet"
        );
        readiness.ready("controllers");
        let waiting = readiness.clone();
        let mut all = tokio::task::JoinSet::new();
        all.spawn(async move { waiting.until_ready().await });
        readiness.ready("source ./shop");
        all.join_next().await.unwrap().unwrap();
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn a_part_says_its_newest_reason_and_may_become_unready_again() {
        let readiness = Readiness::new();
        assert_eq!(readiness.check(), Ok(()), "nothing to wait for");
        readiness.wait_for("source ./shop", "not looked at yet");
        readiness.wait_for("source ./shop", "the API does not answer");
        assert_eq!(
            readiness.check().unwrap_err(),
            "source ./shop: the API does not answer"
        );
        readiness.ready("source ./shop");
        readiness.ready("nobody ever heard of it");
        assert_eq!(readiness.check(), Ok(()));
        readiness.wait_for("engine", "it went away");
        assert!(readiness.clone().check().is_err(), "clones share it");
    }
}
