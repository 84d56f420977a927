//! A folder of YAML as a part of the server: its task, and one that tells how it is whenever that changes.

use std::path::Path;

use clos_sources::Directory;
use clos_sources::directory::Timing;
use futures::FutureExt;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;

use crate::notice::Notice;
use crate::readiness::Readiness;
use crate::tasks::Tasks;

/// A folder of YAML, and a task that tells how it is whenever that changes.
pub(crate) fn add_source(
    tasks: &mut Tasks,
    folder: &Path,
    confirm_removals: bool,
    client: Client,
    readiness: &Readiness,
    clock: fn() -> Timestamp,
    tell: impl Fn(Notice) + Send + 'static,
) {
    let directory = Directory {
        name: source_name(folder),
        path: folder.to_owned(),
        allow_empty: confirm_removals,
        allow_many: confirm_removals,
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

/// The name that a folder's objects carry: its last component as a DNS label.
fn source_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let last = absolute
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let label: String = last
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '-'
            }
        })
        .take(50)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "folder".to_owned()
    } else {
        label.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_after_its_folder() {
        assert_eq!(source_name(Path::new("/srv/My Shop")), "my-shop");
        assert_eq!(source_name(Path::new("/")), "folder");
    }
}
