//! Errors as sentences: what the server said in its own words, and never a structure of some library.

use std::error::Error;

use kube::runtime::watcher;

/// An error and its causes, from the outside in, as one line for users.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let text = match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => {
                next = None;
                if status.message.is_empty() {
                    format!("the server answers {} {}", status.code, status.reason)
                } else {
                    status.message.clone()
                }
            }
            Some(other) => {
                next = None;
                innermost(other)
            }
            // Its own text repeats what comes next.
            None if error.is::<watcher::Error>() && next.is_some() => continue,
            None => error.to_string(),
        };
        if !text.is_empty() && parts.last().is_none_or(|before| !before.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// The innermost cause: the one that says what really happened.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use kube::core::Status;

    use super::*;

    fn refused() -> kube::Error {
        kube::Error::Api(Box::new(
            Status::failure("services.clos.dev \"web\" is forbidden", "Forbidden").with_code(403),
        ))
    }

    #[test]
    fn what_the_server_said_is_told_in_its_words() {
        let error = Err::<(), _>(refused())
            .context("cannot delete service web")
            .unwrap_err();
        assert_eq!(
            sentence(error.as_ref()),
            "cannot delete service web: services.clos.dev \"web\" is forbidden"
        );
    }

    #[test]
    fn a_watch_that_is_refused_says_the_same() {
        let error = watcher::Error::InitialListFailed(refused());
        assert_eq!(sentence(&error), "services.clos.dev \"web\" is forbidden");
    }

    #[test]
    fn a_library_s_error_is_told_by_its_innermost_cause() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = kube::Error::Service(Box::new(io));
        assert_eq!(sentence(&error), "connection refused");
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_said_again() {
        let error = anyhow::anyhow!("disk full")
            .context("cannot write: disk full")
            .context("cannot start");
        assert_eq!(
            sentence(error.as_ref()),
            "cannot start: cannot write: disk full"
        );
    }
}
