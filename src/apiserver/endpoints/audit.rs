//! `/audit`: the journal of what was done, as JSON lines, the newest at the end; with `follow=true` each further one as it comes.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use clos_audit::query::Order;
use clos_audit::{Entry, Filter, JournalError};
use futures::stream::{self, Stream, StreamExt};
use http::StatusCode;
use jiff::Timestamp;

use crate::State;
use crate::request::query::Query;
use crate::status::ApiError;

/// So many entries are answered when no limit is asked for.
const USUAL: u64 = 50;
/// So many at most.
const MOST: u64 = 10_000;

/// Answers `object`, `verb`, `actor`, `since`, `until`, `limit` and `follow`.
pub(super) async fn read(state: &State, query: &Query) -> Result<Response, ApiError> {
    let filter = Filter {
        about: query.get("object").map(str::to_owned),
        verb: query.get("verb").map(str::to_owned),
        actor: query.get("actor").map(str::to_owned),
        since: time(query, "since")?,
        until: time(query, "until")?,
        ..Filter::default()
    };
    let limit = query.number("limit")?.unwrap_or(USUAL).min(MOST);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Asked first, so that what comes between the two questions is followed and not lost.
    let newest = state
        .journal
        .query(Filter::default(), Order::Backwards, 1)
        .await
        .map_err(|error| unreadable(&error))?;
    let mut entries = state
        .journal
        .query(filter.clone(), Order::Backwards, limit)
        .await
        .map_err(|error| unreadable(&error))?;
    entries.reverse();
    let seen = newest.iter().chain(&entries).map(|entry| entry.seq).max();
    let past = stream::iter(entries.iter().map(line).collect::<Vec<_>>()).map(Ok);
    let body = if query.is_true("follow") {
        Body::from_stream(past.chain(to_come(state, filter, seen.unwrap_or(0))))
    } else {
        Body::from_stream(past)
    };
    Ok(super::with_type(
        StatusCode::OK,
        body,
        "application/x-ndjson",
    ))
}

fn to_come(
    state: &State,
    filter: Filter,
    after: u64,
) -> impl Stream<Item = Result<Bytes, JournalError>> + use<> {
    state
        .journal
        .follow(filter, after)
        .map(|entry| entry.map(|entry| line(&entry)))
}

fn line(entry: &Entry) -> Bytes {
    Bytes::from(format!("{}\n", entry.to_line().trim_end()))
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(format!(
            "{name}: {text:?} is not a time; write it like 2026-01-31T12:00:00Z"
        ))
    })
}

fn unreadable(error: &JournalError) -> ApiError {
    ApiError::internal(format!(
        "the audit journal cannot be read: {}",
        clos_telemetry::Chain(error)
    ))
}
