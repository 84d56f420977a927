//! A folder of YAML as a part of the server: its task, and one that tells how it is whenever that changes.

use std::path::Path;
use std::time::Duration;

use clos_sources::Directory;
use clos_sources::directory::Timing;
use futures::FutureExt;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;

use crate::folders::source_name;
use crate::notice::Notice;
use crate::readiness::Readiness;
use crate::tasks::Tasks;

/// How long the controllers wait for the first look at every source until they replace what is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder of YAML, and a task that tells how it is whenever that changes.
pub(crate) fn add_source(
    tasks: &mut Tasks,
    folder: &Path,
    client: Client,
    readiness: &Readiness,
    clock: fn() -> Timestamp,
    tell: impl Fn(Notice) + Send + 'static,
) {
    let directory = Directory {
        name: source_name(folder),
        path: folder.to_owned(),
        timing: Timing::default(),
        clock,
    };
    let part = format!("source {}", folder.display());
    readiness.wait_for(&part, "not looked at yet");
    let (status, mut changes) = watch::channel(directory.initial_status());
    tasks.add("a source", |stop| {
        directory.run(client, status, stop).map(Ok)
    });
    let (readiness, folder) = (readiness.clone(), folder.to_owned());
    tasks.add("a source's report", |stop| async move {
        let mut told = String::new();
        while stop
            .run_until_cancelled(changes.changed())
            .await
            .is_some_and(|changed| changed.is_ok())
        {
            let status = changes.borrow_and_update().clone();
            let lines = std::iter::once(status.to_string())
                .chain(status.mistakes.iter().map(ToString::to_string));
            let state = lines.collect::<Vec<_>>().join("\n");
            if state != told {
                tell(Notice::Source {
                    folder: folder.clone(),
                    state: state.clone(),
                });
                told = state;
            }
            if status.has_looked() {
                readiness.ready(&part);
            }
        }
        // The sender ends with the source, and that one tells why.
        stop.cancelled().await;
        Ok(())
    });
}

/// Says that it is known what is declared when every source was looked at, or after a while: one that cannot be looked at keeps nobody.
pub(crate) async fn first_look(readiness: &Readiness, declared: &watch::Sender<bool>) {
    if tokio::time::timeout(PATIENCE, readiness.until_ready())
        .await
        .is_err()
        && let Err(reason) = readiness.check()
    {
        tracing::warn!(%reason, "not waiting any longer for the first look at every source, going on by what was declared before");
    }
    declared.send_replace(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_look_is_waited_for_and_not_for_ever() {
        let readiness = Readiness::new();
        let (declared, known) = watch::channel(false);
        first_look(&readiness, &declared).await;
        assert!(*known.borrow(), "without a source nothing is waited for");
        declared.send_replace(false);
        readiness.wait_for("source ./shop", "not looked at yet");
        let begun = tokio::time::Instant::now();
        tokio::join!(first_look(&readiness, &declared), async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(!*known.borrow());
            readiness.ready("source ./shop");
        });
        assert!(*known.borrow() && begun.elapsed() == Duration::from_secs(2));
        readiness.wait_for("source ./shop", "not looked at yet");
        first_look(&readiness, &declared).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2) + PATIENCE);
    }

    #[tokio::test]
    async fn a_source_tells_how_it_is_once_a_change_and_then_it_is_ready() {
        let clock: fn() -> Timestamp = || Timestamp::from_second(1_800_000_000).unwrap();
        let client = crate::installation::tests::client().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.yaml");
        let group =
            "apiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: { name: shop }\nspec: {}\n";
        std::fs::write(&file, group).unwrap();
        let readiness = Readiness::new();
        let stop = tokio_util::sync::CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        add_source(
            &mut tasks,
            folder.path(),
            client,
            &readiness,
            clock,
            move |notice| sender.send(notice.to_string()).unwrap(),
        );
        let part = format!("source {}", folder.path().display());
        assert_eq!(
            readiness.check().unwrap_err(),
            format!("{part}: not looked at yet")
        );
        let mut running = tokio::task::JoinSet::new();
        running.spawn(tasks.run(|| {}));
        assert_eq!(
            told.recv().await.unwrap(),
            format!("{part}   1 object in 1 file, applied")
        );
        readiness.until_ready().await;
        std::fs::write(&file, "apiVersion: clos.dev/v1alpha1\nkind: Grup\n").unwrap();
        let mistake = told.recv().await.unwrap();
        assert!(
            mistake.starts_with(&format!("{part}   ")) && mistake.contains("nothing was applied\n"),
            "{mistake}"
        );
        assert!(mistake.contains("shop.yaml:1: Grup: "), "{mistake}");
        assert_eq!(
            readiness.check(),
            Ok(()),
            "a mistake does not make a server unready"
        );
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }
}
