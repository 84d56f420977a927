//! Which version of its API the engine is spoken to in: the newest that both sides know, so that a newer engine answers in the words that
//! were tried. What the answers mean is in `inspect`.

use std::fmt;
use std::sync::PoisonError;

use bollard::models::SystemVersion;
use bollard::{BollardRequest, Docker};

use super::DockerEngine;
use super::failure::Call;
use crate::error::Error;

/// A version of the engine's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    /// The oldest that clos speaks: the one of Docker 20.10.
    const OLDEST: Self = Self {
        major: 1,
        minor: 41,
    };
    /// The newest that clos speaks: the one of Docker 28.5.
    const NEWEST: Self = Self {
        major: 1,
        minor: 51,
    };

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl DockerEngine {
    /// A client for one call, in the version that both sides know. The first one after [`Self::forget_version`] asks the engine for it.
    pub(super) async fn client(&self, call: &Call) -> Result<Docker, Error> {
        let known = *self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        let version = match known {
            Some(version) => version,
            None => self.negotiate(call).await?.1,
        };
        let client = self.connect_once(call)?;
        Ok(client.with_request_modifier(move |request| in_version(request, version)))
    }

    /// Asks the engine what it is, within the deadline of the call, and remembers the version to speak.
    pub(super) async fn negotiate(
        &self,
        call: &Call,
    ) -> Result<(SystemVersion, ApiVersion), Error> {
        let client = self.connect_once(call)?;
        let shown = tokio::time::timeout(call.deadline, client.version())
            .await
            .map_err(|_| call.late())?
            .map_err(|error| call.failed(&self.address, &error))?;
        let agreed = agree(&shown)?;
        *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed);
        Ok((shown, agreed))
    }

    /// The engine may have been replaced by one of another version.
    pub(super) fn forget_version(&self) {
        *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether these are an engine's words about the version it was spoken to in.
pub(super) fn is_refused(words: &str) -> bool {
    words.contains("client version") && (words.contains("too new") || words.contains("too old"))
}

/// The newest version that both know.
fn agree(shown: &SystemVersion) -> Result<ApiVersion, Error> {
    let newest = shown.api_version.as_deref().unwrap_or_default();
    let oldest = shown.min_api_version.as_deref().unwrap_or_default();
    match ApiVersion::parse(newest) {
        Some(version) if version >= ApiVersion::OLDEST => {
            if ApiVersion::parse(oldest).is_some_and(|oldest| oldest > ApiVersion::NEWEST) {
                return Err(Error::TooNew {
                    found: oldest.to_owned(),
                    known: ApiVersion::NEWEST.to_string(),
                });
            }
            Ok(version.min(ApiVersion::NEWEST))
        }
        Some(_) | None => Err(Error::TooOld {
            found: newest.to_owned(),
            needed: ApiVersion::OLDEST.to_string(),
        }),
    }
}

/// The same request with the version before its path.
fn in_version(mut request: BollardRequest, version: ApiVersion) -> BollardRequest {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if let Ok(versioned) = format!("{scheme}://{authority}/v{version}{path}").parse() {
        *request.uri_mut() = versioned;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Reply, Stub, lively};
    use super::*;
    use crate::engine::Engine;

    fn engine_of(oldest: &str, newest: &str) -> Result<ApiVersion, Error> {
        agree(&SystemVersion {
            api_version: Some(newest.to_owned()),
            min_api_version: Some(oldest.to_owned()),
            ..SystemVersion::default()
        })
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        let spoken = |oldest, newest| engine_of(oldest, newest).unwrap().to_string();
        assert_eq!(spoken("1.12", "1.41"), "1.41");
        assert_eq!(spoken("1.24", "1.43"), "1.43");
        assert_eq!(spoken("1.44", "1.51"), "1.51");
        assert_eq!(spoken("1.44", "1.60"), "1.51");
        assert_eq!(spoken("", "2.0"), "1.51");
    }

    #[test]
    fn an_engine_that_shares_no_version_is_refused_in_one_sentence_with_both() {
        insta::assert_snapshot!(
            engine_of("1.12", "1.40").unwrap_err(),
            @"the container engine speaks API 1.40, clos needs 1.41 or newer; upgrade the engine"
        );
        insta::assert_snapshot!(
            engine_of("1.60", "1.64").unwrap_err(),
            @"the container engine speaks no API older than 1.60, this clos knows none newer than 1.51; upgrade clos"
        );
        for nonsense in ["", "1", "one.two", "1.9"] {
            assert!(matches!(
                engine_of("1.12", nonsense),
                Err(Error::TooOld { .. })
            ));
        }
    }

    #[tokio::test]
    async fn engines_of_every_range_of_versions_are_spoken_to_in_one_that_they_accept() {
        for (oldest, newest) in [
            ("1.12", "1.41"),
            ("1.24", "1.43"),
            ("1.44", "1.51"),
            ("1.44", "1.60"),
        ] {
            let stub = Stub::speaking(oldest, newest, |request| match request {
                "GET /containers/json" => Reply::Body(200, "[]".to_owned()),
                other => lively(other),
            });
            let engine = stub.engine();
            assert_eq!(engine.list().await, Ok(Vec::new()), "{oldest} to {newest}");
            let info = engine.info().await.unwrap();
            assert_eq!(info.engine.api_version, newest);
        }
    }

    #[tokio::test]
    async fn an_engine_without_a_common_version_is_asked_for_nothing_else() {
        for (oldest, newest) in [("1.12", "1.40"), ("1.60", "1.64")] {
            let stub = Stub::speaking(oldest, newest, |request| {
                assert_eq!(request, "GET /version", "nothing else is asked for");
                Reply::Body(200, String::new())
            });
            let engine = stub.engine();
            let refused = engine.info().await;
            assert!(
                matches!(refused, Err(Error::TooOld { .. } | Error::TooNew { .. })),
                "{refused:?}"
            );
            assert_eq!(engine.list().await.unwrap_err(), refused.unwrap_err());
        }
    }

    #[tokio::test]
    async fn an_engine_replaced_by_an_older_one_leaves_the_state_unknown_once_and_is_then_spoken_to_in_its_version()
     {
        let stub = Stub::speaking("1.24", "1.43", |request| match request {
            "GET /containers/json" => Reply::Body(200, "[]".to_owned()),
            other => lively(other),
        });
        let engine = stub.engine();
        *engine.spoken.lock().unwrap() = Some(ApiVersion::NEWEST);
        let refused = engine.list().await.unwrap_err();
        assert!(refused.leaves_unknown(), "{refused:?}");
        assert_eq!(engine.list().await, Ok(Vec::new()));
    }
}
