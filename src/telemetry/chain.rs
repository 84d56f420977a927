//! The one printer of error chains. Which errors exist, and whether they are retried, is the
//! crates' own business.

use std::error::Error;
use std::fmt;

use kube::runtime::watcher;

/// Prints an error and its causes on one line: `cannot open the store: cannot read /x: permission
/// denied`.
///
/// A cause that the text before it already ends with is left out, because many libraries
/// repeat their source in their own message. What an API server said is told in its own words, and
/// never as the structure that the client library prints.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut outer = String::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            next = error.source();
            let text = match error.downcast_ref::<kube::Error>() {
                Some(answer) => {
                    next = None;
                    answered(answer)
                }
                // Its own text repeats what comes next.
                None if error.is::<watcher::Error>() && next.is_some() => continue,
                None => error.to_string(),
            };
            if text.is_empty() || outer.ends_with(&text) {
                continue;
            }
            if !outer.is_empty() {
                f.write_str(": ")?;
            }
            f.write_str(&text)?;
            outer = text;
        }
        Ok(())
    }
}

/// What the server said, or else the innermost cause: the one that says what really happened.
fn answered(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => {
            format!("the server answers {} {}", status.code, status.reason)
        }
        kube::Error::Api(status) => status.message.clone(),
        other => {
            let mut cause: &dyn Error = other;
            while let Some(source) = cause.source() {
                cause = source;
            }
            cause.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use kube::core::Status;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        source: Option<Box<dyn std::error::Error>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, inner) = texts.split_first().expect("at least one layer");
        Layer {
            text,
            source: (!inner.is_empty()).then(|| layers(inner).into()),
        }
    }

    #[test]
    fn every_cause_is_printed_once_from_the_outside_in() {
        let error = layers(&["cannot start", "cannot open the store", "disk full"]);
        assert_eq!(
            Chain(&error).to_string(),
            "cannot start: cannot open the store: disk full"
        );
    }

    #[test]
    fn a_cause_the_outer_text_already_ends_with_is_not_repeated() {
        let error = layers(&[
            "cannot start",
            "request failed: connection refused",
            "connection refused",
        ]);
        assert_eq!(
            Chain(&error).to_string(),
            "cannot start: request failed: connection refused"
        );
    }

    #[test]
    fn causes_below_a_repeated_one_are_still_printed() {
        let error = layers(&["request failed: send", "send", "", "broken pipe"]);
        assert_eq!(
            Chain(&error).to_string(),
            "request failed: send: broken pipe"
        );
    }

    fn refused(message: &str) -> kube::Error {
        kube::Error::Api(Box::new(
            Status::failure(message, "Conflict").with_code(409),
        ))
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot carry out: delete Service default/web")]
    struct Call(#[source] kube::Error);

    #[test]
    fn what_the_server_said_is_told_in_its_words_and_never_as_a_structure() {
        assert_eq!(
            Chain(&Call(refused(
                "services.clos.dev \"web\" was changed meanwhile"
            )))
            .to_string(),
            "cannot carry out: delete Service default/web: services.clos.dev \"web\" was changed meanwhile"
        );
        assert_eq!(
            Chain(&Call(refused(""))).to_string(),
            "cannot carry out: delete Service default/web: the server answers 409 Conflict"
        );
    }

    #[test]
    fn a_watch_that_is_refused_says_the_same() {
        let error = watcher::Error::InitialListFailed(refused("not yours"));
        assert_eq!(Chain(&error).to_string(), "not yours");
        assert_eq!(
            Chain(&watcher::Error::NoResourceVersion).to_string(),
            watcher::Error::NoResourceVersion.to_string()
        );
    }

    #[test]
    fn a_client_s_failure_is_told_by_its_innermost_cause() {
        let io = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = kube::Error::Service(Box::new(io));
        assert_eq!(Chain(&error).to_string(), "connection refused");
    }

    #[test]
    fn an_error_without_a_cause_prints_as_itself() {
        let error = io::Error::other("no such network");
        assert_eq!(Chain(&error).to_string(), "no such network");
    }
}
