//! The task set: every part of the server is a task in it, and whatever ends without being asked to stops everything.

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::ServeError;

/// How a part ended.
pub(crate) type PartResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The task set: whatever ends without being asked to stops everything.
pub(crate) struct Tasks {
    set: JoinSet<(&'static str, PartResult)>,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            stop,
        }
    }

    /// Adds a part; it is handed the token that asks it to end.
    pub(crate) fn add<F>(&mut self, part: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = PartResult> + Send + 'static,
    {
        let task = task(self.stop.clone());
        self.set.spawn(task.map(move |ended| (part, ended)));
    }

    /// Waits for all to end; the first failure is the answer. `stopping` is called once, when the end begins.
    pub(crate) async fn run(mut self, stopping: impl FnOnce()) -> Result<(), ServeError> {
        let mut first = None;
        let mut stopping = Some(stopping);
        loop {
            let ended = tokio::select! {
                ended = self.set.join_next() => ended,
                () = self.stop.cancelled(), if stopping.is_some() => {
                    if let Some(stopping) = stopping.take() {
                        stopping();
                    }
                    continue;
                }
            };
            let failure = match ended {
                None => return first.map_or(Ok(()), Err),
                Some(Err(panic)) => Some(ServeError::Panicked(panic)),
                Some(Ok((part, Err(source)))) => Some(ServeError::Ended {
                    part,
                    source: Some(source),
                }),
                Some(Ok((part, Ok(())))) if !self.stop.is_cancelled() => {
                    Some(ServeError::Ended { part, source: None })
                }
                Some(Ok((_, Ok(())))) => None,
            };
            if failure.is_some() && first.is_none() {
                first = failure;
                self.stop.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_unasked_stops_the_others_and_is_named() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.add("the patient one", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.add("the hasty one", |_| async { Ok(()) });
        let error = tasks.run(|| {}).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the hasty one ended without being asked to"
        );
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_a_silence() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.add("the unlucky one", |_| async { panic!("bad luck") });
        assert!(matches!(
            tasks.run(|| {}).await,
            Err(ServeError::Panicked(_))
        ));
    }

    #[tokio::test]
    async fn an_end_that_was_asked_for_is_none_to_complain_of() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.add("the patient one", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        stop.cancel();
        let mut said = false;
        tasks.run(|| said = true).await.unwrap();
        assert!(said);
    }

    #[tokio::test]
    async fn the_first_failure_is_the_answer_with_its_cause_and_the_others_are_asked_to_end() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.add("the API server", |_| async {
            Err(Box::from("the socket is gone"))
        });
        tasks.add("the store", |stop| async move {
            stop.cancelled().await;
            Err(Box::from("it was in the way of the first"))
        });
        let error = tasks.run(|| {}).await.unwrap_err();
        assert_eq!(
            clos_telemetry::Chain(&error).to_string(),
            "the API server ended without being asked to: the socket is gone"
        );
    }

    #[tokio::test]
    async fn a_failure_while_stopping_is_told_too() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.add("the controllers", |stop| async move {
            stop.cancelled().await;
            Err(Box::from("a call did not end"))
        });
        stop.cancel();
        let error = tasks.run(|| {}).await.unwrap_err();
        assert!(matches!(
            error,
            ServeError::Ended {
                part: "the controllers",
                ..
            }
        ));
    }
}
