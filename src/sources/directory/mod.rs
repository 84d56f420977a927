//! A folder as the source of truth: looked at when something in it changes and now and then besides, and the API is made to hold
//! what it declares. Whatever is wrong with it, the last good declarations stay in force.

mod pass;
mod scan;
mod status;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clos_telemetry::Chain;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch as channel;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

pub use pass::PassError;
pub use scan::Scan;
pub use status::{SourceState, SourceStatus};

use crate::prepare::PrepareError;
use crate::sync::{Refusal, SyncOptions};
use pass::{Looker, Pass};
use watch::FolderWatch;

/// The first pause after a failure; it doubles up to the pause between two looks.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// What keeps the API from taking objects, such as a full disk, may end at any time.
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// The pauses of a directory source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the folder must be quiet after a change before it is read.
    pub debounce: Duration,
    /// How long the folder must stay as it is before anything is pruned because of it.
    pub settle: Duration,
    /// How long after the last look the folder and the API are looked at without any sign of a change.
    pub rescan: Duration,
    /// The same while removals are held back, which a person may confirm at any time.
    pub held: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(100),
            settle: Duration::from_secs(2),
            rescan: Duration::from_mins(1),
            held: Duration::from_secs(5),
        }
    }
}

/// A folder to apply.
#[derive(Debug, Clone)]
pub struct Directory {
    /// The source's name: a DNS label, which its objects carry.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// The pauses.
    pub timing: Timing,
    /// Tells the time for the status.
    pub clock: fn() -> Timestamp,
}

impl Directory {
    /// The status before the first look, to open the channel with.
    pub fn initial_status(&self) -> SourceStatus {
        SourceStatus::new(&self.name)
    }

    /// Keeps the API as the folder declares it, until `cancellation`. Never gives up: what is wrong stands in `status`.
    pub async fn run(
        self,
        client: Client,
        status: channel::Sender<SourceStatus>,
        cancellation: CancellationToken,
    ) {
        let working = Box::pin(self.work(client, status));
        cancellation.run_until_cancelled(working).await;
    }

    async fn work(self, client: Client, status: channel::Sender<SourceStatus>) {
        let options = SyncOptions {
            source: Some(self.name.clone()),
            prune: true,
        };
        let mut watch = FolderWatch::new(&self.path);
        let mut looker = Looker::new(self.path.clone(), options, self.timing.settle);
        let mut retry = FIRST_RETRY;
        loop {
            // Before the folder is read: what changes from here on wakes.
            watch.renew();
            let result = looker.look(&client).await;
            let pause = match &result {
                Ok(pass) if !pass.unfinished => self.timing.rescan,
                Err(PassError::Prepare(PrepareError::Refused(
                    Refusal::Empty(_) | Refusal::Many(_),
                ))) => self.timing.held,
                Err(PassError::Prepare(PrepareError::Refused(Refusal::Mistakes(_)))) => {
                    self.timing.rescan
                }
                Err(PassError::Changing) => self.timing.debounce,
                Ok(_) | Err(_) => retry.min(self.timing.rescan),
            };
            retry = if pause == self.timing.rescan || pause == self.timing.held {
                FIRST_RETRY
            } else {
                (retry * 2).min(LONGEST_RETRY)
            };
            self.publish(&status, result);
            tokio::select! {
                () = sleep(pause) => {}
                () = watch.changed() => self.quiet(&watch).await,
            }
        }
    }

    /// Waits until the folder was quiet for a while, but not for ever.
    async fn quiet(&self, watch: &FolderWatch) {
        let deadline = Instant::now() + self.timing.debounce * 10;
        loop {
            tokio::select! {
                () = sleep(self.timing.debounce) => return,
                () = sleep_until(deadline) => return,
                () = watch.changed() => {}
            }
        }
    }

    fn publish(&self, status: &channel::Sender<SourceStatus>, result: Result<Pass, PassError>) {
        let before = status.borrow().clone();
        let mut now = before.clone();
        now.mistakes.clear();
        match result {
            Ok(pass) => {
                for (object, outcome) in &pass.outcomes {
                    tracing::info!(source = self.name, %object, %outcome, "applied");
                }
                now.state = SourceState::Synced;
                now.objects = pass.objects;
                now.files = pass.files;
                now.last_synced_revision = Some(pass.digest);
                now.last_sync_time = Some((self.clock)());
            }
            Err(PassError::Prepare(PrepareError::Refused(Refusal::Mistakes(mistakes)))) => {
                now.state = SourceState::Mistaken;
                now.mistakes = mistakes.as_slice().to_vec();
            }
            Err(PassError::Prepare(PrepareError::Refused(
                refusal @ (Refusal::Empty(_) | Refusal::Many(_)),
            ))) => {
                now.state = SourceState::Refused(refusal.to_string());
            }
            // The folder is read again at once; until then the old state stands.
            Err(PassError::Changing) => return,
            Err(error) => now.state = SourceState::Failing(Chain(&error).to_string()),
        }
        if now.state != before.state || now.mistakes != before.mistakes {
            tell(&now);
        }
        status.send_replace(now);
    }
}

/// Logs a state once, when it comes about.
fn tell(status: &SourceStatus) {
    match &status.state {
        SourceState::Starting => {}
        SourceState::Synced => tracing::info!(
            source = status.name,
            objects = status.objects,
            files = status.files,
            "source is applied"
        ),
        SourceState::Mistaken => {
            for mistake in &status.mistakes {
                tracing::warn!(source = status.name, %mistake, "mistake in a source");
            }
            tracing::warn!(
                source = status.name,
                mistakes = status.mistakes.len(),
                "nothing was applied, the last good declarations stay in force"
            );
        }
        SourceState::Refused(reason) => {
            tracing::warn!(source = status.name, reason, "source is not applied");
        }
        SourceState::Failing(reason) => tracing::warn!(
            source = status.name,
            reason,
            "source cannot be applied now, trying again"
        ),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::apply::ApplyError;

    #[test]
    fn a_step_that_the_api_refused_is_told_in_the_api_s_words() {
        let directory = Directory {
            name: "shop".to_owned(),
            path: PathBuf::from("./shop"),
            timing: Timing::default(),
            clock: || Timestamp::UNIX_EPOCH,
        };
        let status = channel::Sender::new(directory.initial_status());
        let refusal = Status::failure("services.clos.dev \"web\" is in the way", "Conflict");
        let first = ApplyError::Call {
            action: "delete Service default/web".to_owned(),
            source: kube::Error::Api(Box::new(refusal.with_code(409))),
        };
        let incomplete = PassError::Incomplete {
            failed: 1,
            steps: 2,
            first,
        };
        directory.publish(&status, Err(incomplete));
        assert_eq!(
            status.borrow().to_string(),
            "1 of 2 steps failed: cannot carry out: delete Service default/web: services.clos.dev \"web\" is in the way"
        );
    }
}
