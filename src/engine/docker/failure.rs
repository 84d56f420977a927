//! From what the client and the engine say went wrong to [`Error`]. Which status means which depends on the call and is all here.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bollard::errors::Error as ClientError;

use crate::error::Error;

/// A call in words, with its deadline: what errors say of it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) words: String,
    pub(super) deadline: Duration,
}

impl Call {
    /// Most calls are answered in milliseconds; half a minute means that the engine is stuck.
    pub(super) const DEADLINE: Duration = Duration::from_secs(30);

    pub(super) fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            deadline: Self::DEADLINE,
        }
    }

    pub(super) fn within(words: impl Into<String>, deadline: Duration) -> Self {
        Self {
            words: words.into(),
            deadline,
        }
    }

    pub(super) fn late(&self) -> Error {
        Error::Deadline {
            call: self.words.clone(),
            after: self.deadline,
        }
    }

    /// What the client's error means for this call.
    pub(super) fn failed(&self, address: &str, error: &ClientError) -> Error {
        let interrupted = |reason: String| Error::Interrupted {
            call: self.words.clone(),
            reason,
        };
        match error {
            ClientError::DockerResponseServerError {
                status_code,
                message,
            } => answer(*status_code, message),
            ClientError::SocketNotFoundError(_) => Error::Unreachable {
                address: address.to_owned(),
                reason: "no such socket".to_owned(),
            },
            ClientError::HyperLegacyError { err } if err.is_connect() => Error::Unreachable {
                address: address.to_owned(),
                reason: deepest(error),
            },
            ClientError::HyperLegacyError { .. }
            | ClientError::HyperResponseError { .. }
            | ClientError::IOError { .. } => interrupted(deepest(error)),
            ClientError::JsonSerdeError { err } if err.is_eof() => {
                interrupted("it ends in the middle".to_owned())
            }
            ClientError::RequestTimeoutError => self.late(),
            ClientError::DockerStreamError { error } => Error::Failed(error.clone()),
            // The client's other errors are about answers it does not understand, or about features that are not compiled in.
            other => Error::Failed(format!(
                "the container engine's answer to {:?} is not understood: {other}",
                self.words
            )),
        }
    }
}

/// What the engine's own refusal means.
fn answer(status: u16, message: &str) -> Error {
    let words = message.trim().to_owned();
    match status {
        404 => Error::NotFound(words),
        // Of a container that is being removed, asked for its output.
        409 if words.contains("dead or marked for removal") => Error::NotFound(words),
        409 if words.contains("is already in use by container") => Error::NameTaken(words),
        _ if port_taken(&words) => Error::PortTaken {
            port: host_port(&words),
            message: words,
        },
        _ if no_addresses(&words) => Error::NoAddresses,
        400..=499 => Error::Refused(words),
        _ => Error::Failed(words),
    }
}

/// Docker says the first of a port that it gave away itself, the system the second of one that a process listens on.
fn port_taken(words: &str) -> bool {
    words.contains("port is already allocated") || words.contains("address already in use")
}

/// Engines before 28 say the first, with what the network's driver adds; later ones the second.
fn no_addresses(words: &str) -> bool {
    words.contains("non-overlapping IPv4 address pool")
        || words.contains("all predefined address pools have been fully subnetted")
}

/// The first port behind an address in the engine's words. Newer engines name the container's own address and port after the host's:
/// `failed to bind host port for 127.0.0.1:8080:172.18.0.2:80/tcp: address already in use`.
fn host_port(words: &str) -> Option<u16> {
    words
        .split_whitespace()
        .filter_map(|word| {
            let word = word.trim_end_matches(':');
            let behind = match (word.strip_prefix('['), word.split_once(':')) {
                (Some(bracketed), _) => bracketed.split_once("]:")?.1,
                (None, Some((address, rest))) if address.parse::<Ipv4Addr>().is_ok() => rest,
                // Older engines write IPv6 addresses without brackets.
                (None, _) => {
                    let (address, rest) = word.rsplit_once(':')?;
                    address.parse::<IpAddr>().ok()?;
                    rest
                }
            };
            let digits = behind.split(|letter: char| !letter.is_ascii_digit());
            digits.into_iter().next()?.parse().ok()
        })
        .find(|port| *port > 0)
}

/// What the registry's words mean.
pub(super) fn pull(error: Error) -> Error {
    const FOR_GOOD: [&str; 9] = [
        "denied",
        "unauthorized",
        "no basic auth credentials",
        "manifest unknown",
        "not found",
        "does not exist",
        "no matching manifest",
        "invalid reference format",
        "invalid repository name",
    ];
    match error {
        Error::NotFound(message) | Error::Refused(message) | Error::Failed(message) => {
            let lower = message.to_lowercase();
            let transient = !FOR_GOOD.iter().any(|words| lower.contains(words));
            Error::Pull { message, transient }
        }
        other @ (Error::Unreachable { .. }
        | Error::Deadline { .. }
        | Error::Interrupted { .. }
        | Error::TooOld { .. }
        | Error::TooNew { .. }
        | Error::NameTaken(_)
        | Error::PortTaken { .. }
        | Error::NoAddresses
        | Error::Pull { .. }) => other,
    }
}

/// The words of the innermost error, as the system says them: `connection refused`.
fn deepest(error: &ClientError) -> String {
    let mut innermost: &dyn std::error::Error = error;
    // The client's wrappers are transparent: their source is their cause's.
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let words = match innermost.downcast_ref::<io::Error>() {
        Some(system) => system.to_string(),
        None => innermost.to_string(),
    };
    let words = words.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status_code: u16, message: &str) -> Error {
        let error = ClientError::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        Call::new("start container web").failed("unix:///run/engine.sock", &error)
    }

    #[test]
    fn a_taken_port_is_known_and_named_by_the_texts_of_every_version() {
        let texts = [
            "driver failed programming external connectivity on endpoint web (0f): Bind for 127.0.0.1:8080 failed: port is already allocated",
            "driver failed programming external connectivity on endpoint web (0f): Error starting userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
            "driver failed programming external connectivity on endpoint web (0f): Error starting userland proxy: listen tcp6 [::1]:8080: bind: address already in use",
            "driver failed programming external connectivity on endpoint web (0f): Bind for :::8080 failed: port is already allocated",
            "failed to set up container networking: driver failed programming external connectivity on endpoint web (0f): failed to bind host port 127.0.0.1:8080/tcp: address already in use",
            "failed to set up container networking: driver failed programming external connectivity on endpoint web (0f): failed to bind host port for 127.0.0.1:8080:172.19.0.3:80/tcp: address already in use",
            "failed to set up container networking: driver failed programming external connectivity on endpoint web (0f): failed to bind host port for [::1]:8080:[fd00::2]:80/tcp: address already in use",
        ];
        for text in texts {
            let taken = Error::PortTaken {
                message: text.to_owned(),
                port: Some(8080),
            };
            assert_eq!(said(500, text), taken);
        }
        let vague = "port is already allocated: ask 1.2.3.4:x";
        assert!(matches!(
            said(500, vague),
            Error::PortTaken { port: None, .. }
        ));
    }

    #[test]
    fn an_engine_without_addresses_for_a_network_says_what_to_do_in_the_place_of_the_texts_of_every_version()
     {
        let texts = [
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            "failed to create network clos_default_shop: Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            "all predefined address pools have been fully subnetted",
        ];
        for status in [400, 403, 500] {
            for text in texts {
                assert_eq!(said(status, text), Error::NoAddresses);
            }
        }
        let words = Error::NoAddresses.to_string();
        assert!(words.contains("default-address-pools"), "{words}");
    }

    #[test]
    fn a_taken_name_is_told_from_other_conflicts() {
        let taken = "Conflict. The container name \"/web\" is already in use by container \"0f\". You have to remove (or rename) that container to be able to reuse that name.";
        assert_eq!(said(409, taken), Error::NameTaken(taken.to_owned()));
        let going = "can not get logs from container which is dead or marked for removal";
        assert_eq!(said(409, going), Error::NotFound(going.to_owned()));
        assert!(matches!(
            said(409, "cannot remove a running container"),
            Error::Refused(_)
        ));
    }

    #[test]
    fn what_the_engine_will_refuse_again_is_told_from_what_may_succeed_later() {
        assert!(matches!(said(400, "invalid user"), Error::Refused(_)));
        assert!(matches!(
            said(404, "No such image: web:1"),
            Error::NotFound(_)
        ));
        assert!(matches!(said(500, "devmapper is busy"), Error::Failed(_)));
        assert!(matches!(said(503, "starting"), Error::Failed(_)));
    }

    #[test]
    fn a_registrys_words_say_whether_to_try_again() {
        let transient = |words: &str| match pull(Error::Failed(words.to_owned())) {
            Error::Pull { message, transient } => {
                assert_eq!(message, words);
                transient
            }
            other => panic!("{other:?} is no failed pull"),
        };
        assert!(!transient(
            "pull access denied for web, repository does not exist or may require 'docker login'"
        ));
        assert!(!transient(
            "manifest for web:9 not found: manifest unknown: manifest unknown"
        ));
        assert!(!transient(
            "Head \"http://127.0.0.1:5000/v2/web/manifests/1\": no basic auth credentials"
        ));
        assert!(!transient(
            "no matching manifest for linux/amd64 in the manifest list entries"
        ));
        assert!(transient(
            "Get \"https://registry.example/v2/\": dial tcp: lookup registry.example: no such host"
        ));
        assert!(transient(
            "toomanyrequests: You have reached your pull rate limit"
        ));
        assert!(transient("net/http: TLS handshake timeout"));
    }

    #[test]
    fn an_answer_that_breaks_off_leaves_the_effect_unknown() {
        let half = serde_json::from_str::<serde_json::Value>("{\"Id\":").unwrap_err();
        let error =
            Call::new("create container web").failed("unix:///run/engine.sock", &half.into());
        assert!(error.leaves_unknown(), "{error:?}");
    }
}
