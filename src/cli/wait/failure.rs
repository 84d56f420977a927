//! What is said at the end of a wait that did not end well: the whole message, the container's last lines, and where to look next.

use std::fmt::Write as _;

use clos_engine::logs::{LogLine, LogOptions};
use clos_engine::{Engine, Error};
use clos_resources::Instance;
use futures::TryStreamExt;

use super::progress::Progress;
use super::tracker::{Subject, Tracked};

/// How many lines of a container's output are shown.
pub(crate) const LINES: u32 = 10;

/// What is known of a failed container's output.
pub(crate) enum Output {
    /// There is no container.
    NoContainer,
    /// Its last lines.
    Lines(Vec<String>),
    /// It cannot be read here, and why.
    Unreadable(String),
}

/// Reads the last lines of an Instance's container.
pub(crate) async fn read(engine: Result<&dyn Engine, &str>, instance: Option<&Instance>) -> Output {
    let Some(id) = instance.and_then(|instance| instance.status.as_ref()?.container_id.clone())
    else {
        return Output::NoContainer;
    };
    let engine = match engine {
        Ok(engine) => engine,
        Err(reason) => return Output::Unreadable(reason.to_owned()),
    };
    let options = LogOptions {
        follow: false,
        tail: Some(LINES),
        since: None,
    };
    match engine
        .logs(&id, options)
        .try_collect::<Vec<LogLine>>()
        .await
    {
        Ok(lines) => Output::Lines(lines.into_iter().map(|line| line.text).collect()),
        // It was replaced meanwhile.
        Err(Error::NotFound(_)) => Output::NoContainer,
        Err(error) => Output::Unreadable(error.to_string()),
    }
}

/// What is said of one failed subject.
pub(crate) fn text(
    subject: &Subject,
    words: &str,
    instance: Option<&str>,
    output: &Output,
) -> String {
    let mut text = format!("\n{subject}: {words}\n");
    let namespace = match subject.namespace() {
        "default" => String::new(),
        namespace => format!(" -n {namespace}"),
    };
    match (output, instance) {
        (Output::Lines(lines), Some(instance)) if !lines.is_empty() => {
            let _ = writeln!(text, "The last lines of {instance}:");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
            let _ = writeln!(text, "More: clos logs {instance}{namespace}");
        }
        (Output::Unreadable(reason), Some(instance)) => {
            let _ = writeln!(
                text,
                "The output of {instance} cannot be read here ({reason}). Where the engine can be reached: clos logs {instance}{namespace}"
            );
        }
        (Output::NoContainer | Output::Lines(_) | Output::Unreadable(_), _) => {
            if let (Output::Lines(_), Some(instance)) = (output, instance) {
                let _ = writeln!(text, "{instance} has printed nothing.");
            }
            let _ = match subject {
                Subject::Service { name, .. } => {
                    writeln!(text, "More: kubectl describe csvc {name}{namespace}")
                }
                Subject::Group { name, .. } => {
                    writeln!(text, "More: clos status {name}{namespace}")
                }
            };
        }
    }
    text
}

/// What is said when the deadline has passed, of what is not settled by then.
pub(crate) fn overdue<'a>(
    after: &str,
    open: impl Iterator<Item = (&'a Subject, Option<&'a Tracked>)>,
) -> String {
    let mut text = format!("\nNot as declared after {after}:\n");
    for (subject, tracked) in open {
        let Some(tracked) = tracked else {
            let _ = writeln!(
                text,
                "  {subject}  is not known; the server has not said yet"
            );
            continue;
        };
        let (words, more) = match &tracked.standing.progress {
            Progress::Done { words, .. } => (words, ", for too short a time to be sure"),
            Progress::Waiting { words } | Progress::Failed { words, .. } => (words, ""),
        };
        let _ = writeln!(
            text,
            "  {subject}  {}  {words}{more}",
            tracked.standing.ready
        );
    }
    text.push_str("clos goes on with it. See: clos status\n");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::progress::{Proof, Standing};
    use super::*;

    fn worker() -> Subject {
        Subject::Service {
            namespace: "default".to_owned(),
            name: "worker".to_owned(),
        }
    }

    #[test]
    fn a_failed_container_is_shown_with_its_last_lines_and_the_command_for_more() {
        let output = Output::Lines(vec!["starting".to_owned(), "panic: no config".to_owned()]);
        insta::assert_snapshot!(text(&worker(), "exited with 1 three times; next start in 20 s", Some("worker-0"), &output), @r"

        worker: exited with 1 three times; next start in 20 s
        The last lines of worker-0:
          starting
          panic: no config
        More: clos logs worker-0
        ");
    }

    #[test]
    fn without_a_container_or_an_engine_the_next_command_is_named_all_the_same() {
        let elsewhere = Subject::Service {
            namespace: "shop".to_owned(),
            name: "worker".to_owned(),
        };
        let unreadable = Output::Unreadable(
            "cannot reach a container engine at unix:///x: no such file".to_owned(),
        );
        let all = [
            text(
                &worker(),
                "cannot pull shop/worker:7: denied",
                Some("worker-0"),
                &Output::NoContainer,
            ),
            text(&elsewhere, "exited with 1", Some("worker-0"), &unreadable),
            text(
                &worker(),
                "exited with 1",
                Some("worker-0"),
                &Output::Lines(Vec::new()),
            ),
            text(
                &Subject::Group {
                    namespace: "shop".to_owned(),
                    name: "all".to_owned(),
                },
                "db failed",
                None,
                &Output::NoContainer,
            ),
        ];
        insta::assert_snapshot!(all.concat(), @r"

        worker: cannot pull shop/worker:7: denied
        More: kubectl describe csvc worker

        shop/worker: exited with 1
        The output of worker-0 cannot be read here (cannot reach a container engine at unix:///x: no such file). Where the engine can be reached: clos logs worker-0 -n shop

        worker: exited with 1
        worker-0 has printed nothing.
        More: kubectl describe csvc worker

        group shop/all: db failed
        More: clos status all -n shop
        ");
    }

    #[tokio::test]
    async fn a_container_that_is_gone_meanwhile_has_no_lines() {
        let engine = clos_engine::fake::FakeEngine::builder().build();
        let instance = super::super::progress::tests::instance(
            clos_resources::conditions::Reason::ContainerFailed,
            "",
            1,
        );
        let output = read(Ok(&engine), Some(&instance)).await;
        assert!(matches!(output, Output::NoContainer));
    }

    #[test]
    fn at_the_deadline_each_unfinished_one_says_what_it_waits_for() {
        let standing = |progress| Tracked {
            standing: Standing {
                ready: "0/1".to_owned(),
                progress,
            },
            since: Duration::ZERO,
            from_the_first: true,
        };
        let web = Subject::Service {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        };
        let db = Subject::Service {
            namespace: "default".to_owned(),
            name: "db".to_owned(),
        };
        let waiting = standing(Progress::Waiting {
            words: "waits for db to be healthy".to_owned(),
        });
        let done = standing(Progress::Done {
            words: "running".to_owned(),
            proof: Proof::RunsAgain,
        });
        insta::assert_snapshot!(overdue("5m", [(&worker(), Some(&waiting)), (&web, Some(&done)), (&db, None)].into_iter()), @r"

        Not as declared after 5m:
          worker  0/1  waits for db to be healthy
          web  0/1  running, for too short a time to be sure
          db  is not known; the server has not said yet
        clos goes on with it. See: clos status
        ");
    }
}
