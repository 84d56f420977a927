//! Lists in pages: which snapshot is read, from where, and the token that carries on. The token is opaque to clients
//! and sealed, so that one cannot be made up or used for another collection. Not here: selectors.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clos_store::{Entry, Range, ReadError};
use serde::{Deserialize, Serialize};

use super::{Storage, prefix, read_error};
use crate::registry::Kind;
use crate::status::ApiError;

/// The version of the token's text, as clients of Kubernetes know it.
const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// How many objects are read at once while a selector looks for matches.
const CHUNK: usize = 500;

/// Where a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    /// At the beginning of the newest state.
    Newest,
    /// At the beginning of the newest state, which must have reached this revision.
    NotOlderThan(u64),
    /// At the beginning of the state as it was at this revision.
    Exact(u64),
    /// Where an earlier page ended.
    Token(String),
}

/// Whether an object belongs into a list.
pub(crate) type Filter<'f> = dyn Fn(&Entry) -> Result<bool, ApiError> + 'f;

/// One page of a list.
#[derive(Debug)]
pub(crate) struct ListPage {
    /// The objects.
    pub(crate) entries: Vec<Entry>,
    /// The revision of the snapshot.
    pub(crate) revision: u64,
    /// The token for the next page.
    pub(crate) token: Option<String>,
    /// How many objects follow this page, where it is known.
    pub(crate) remaining: Option<u64>,
}

/// The content of a token.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    /// The revision of the snapshot; -1 reads what is newest.
    rv: i64,
    /// The last key of the page, below the collection's prefix.
    start: String,
    /// The seal over prefix, revision and key.
    seal: String,
}

impl Storage {
    /// Reads one page of a collection: the objects that `matches`, at most `limit` of them (0 is all).
    pub(crate) fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        position: &Position,
        limit: usize,
        matches: Option<&Filter<'_>>,
    ) -> Result<ListPage, ApiError> {
        let prefix = prefix(kind, namespace);
        let (mut at, mut after) = self.start(&prefix, position)?;
        let continuing = after.clone();
        let mut entries = Vec::new();
        loop {
            let wanted = match (limit, matches) {
                (0, _) => None,
                (limit, None) => Some(limit),
                (_, Some(_)) => Some(CHUNK),
            };
            let range = Range {
                prefix: prefix.clone(),
                at,
                after_key: after.clone(),
                limit: wanted,
            };
            let page = self
                .store
                .range(&range)
                .map_err(|error| match (error, &continuing) {
                    (ReadError::Compacted { .. }, Some(key)) => {
                        ApiError::expired_continue(self.token(&prefix, -1, key))
                    }
                    (error, _) => read_error(error),
                })?;
            at = Some(page.revision);
            let more = page.more;
            let remaining = page.remaining;
            let mut left_over = false;
            for entry in page.entries {
                if limit > 0 && entries.len() == limit {
                    left_over = true;
                    break;
                }
                after = Some(entry.key.clone());
                if matches.map_or(Ok(true), |matches| matches(&entry))? {
                    entries.push(entry);
                }
            }
            let unfinished = limit > 0 && entries.len() == limit && (more || left_over);
            if unfinished || !more {
                let last = after.as_deref().filter(|_| unfinished);
                return Ok(ListPage {
                    token: last.map(|key| self.token(&prefix, revision_number(page.revision), key)),
                    remaining: (unfinished && matches.is_none())
                        .then(|| u64::try_from(remaining).unwrap_or(u64::MAX)),
                    entries,
                    revision: page.revision,
                });
            }
        }
    }

    /// The revision and key a list starts at.
    fn start(
        &self,
        prefix: &str,
        position: &Position,
    ) -> Result<(Option<u64>, Option<String>), ApiError> {
        match position {
            Position::Newest => Ok((None, None)),
            Position::Exact(revision) => Ok((Some(*revision), None)),
            Position::NotOlderThan(revision) => {
                let current = self.store.revision();
                if *revision > current {
                    return Err(ApiError::too_large_resource_version(*revision, current));
                }
                Ok((None, None))
            }
            Position::Token(text) => {
                let token = self.open(prefix, text).ok_or_else(|| {
                    ApiError::bad_request(
                        "continue key is not valid: it is not one this server gave for this list",
                    )
                })?;
                let key = format!("{prefix}{}", token.start.trim_end_matches('\0'));
                Ok((u64::try_from(token.rv).ok(), Some(key)))
            }
        }
    }

    fn token(&self, prefix: &str, rv: i64, last_key: &str) -> String {
        let start = format!("{}\0", last_key.strip_prefix(prefix).unwrap_or(last_key));
        let seal = hmac::sign(&self.seal, &sealed(prefix, rv, &start));
        let token = Token {
            v: TOKEN_VERSION.to_owned(),
            rv,
            start,
            seal: URL_SAFE_NO_PAD.encode(seal),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token is text and a number"))
    }

    fn open(&self, prefix: &str, text: &str) -> Option<Token> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let token: Token = serde_json::from_slice(&bytes).ok()?;
        let seal = URL_SAFE_NO_PAD.decode(&token.seal).ok()?;
        hmac::verify(&self.seal, &sealed(prefix, token.rv, &token.start), &seal).ok()?;
        (token.v == TOKEN_VERSION).then_some(token)
    }
}

fn sealed(prefix: &str, rv: i64, start: &str) -> Vec<u8> {
    format!("{prefix}\n{rv}\n{start}").into_bytes()
}

fn revision_number(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
