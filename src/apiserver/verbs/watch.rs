//! Watches: what is there, if that was asked for, and then every change, as lines of JSON until the client, the time
//! limit or the server ends it. How changes become events is in `crate::watch`.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use rand::Rng as _;
use tokio::time::Instant;

use super::options::{self, WatchStart};
use super::selection::Selection;
use super::{Call, answer};
use crate::request::media::{Offer, Output, Shape};
use crate::status::ApiError;
use crate::storage::{self, Object, Position, prefix};
use crate::table::partial;
use crate::watch::{Feed, Follower, View};

/// A watch without a time limit of its own ends after half an hour to an hour, so that clients spread over servers.
const SHORTEST_SECONDS: u64 = 1800;
const LONGEST_SECONDS: u64 = 3600;

/// Opens the stream. A start that is too old is told within it: clients start anew only on an event.
pub(super) fn watch(call: &Call) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Watch)?;
    let start = options::watch_start(&call.query)?;
    let selection = Selection::of(call)?;
    let bookmarks = call.query.is_true("allowWatchBookmarks");
    let seconds = match call.query.number("timeoutSeconds")? {
        None | Some(0) => rand::rng().random_range(SHORTEST_SECONDS..=LONGEST_SECONDS),
        // A day is longer than any client waits; the bound keeps the arithmetic in range.
        Some(seconds) => seconds.min(86_400),
    };
    let store = call.state.storage.store();
    let prefix = prefix(&call.kind, call.namespace());
    let (initial, after) = match start {
        WatchStart::Now => (None, store.revision()),
        WatchStart::After(revision) => (None, revision),
        WatchStart::Initial { at_least } => {
            let filter = |entry: &clos_store::Entry| selection.matches(&call.kind, entry);
            let page = call.state.storage.list(
                &call.kind,
                call.namespace(),
                &Position::NotOlderThan(at_least),
                0,
                Some(&filter),
            )?;
            (Some(page.entries), page.revision)
        }
    };
    let changes = store.watch(&prefix, after).map_err(storage::watch_error);
    let feed = Feed {
        initial,
        changes,
        after,
        bookmarks,
        deadline: Instant::now() + Duration::from_secs(seconds),
        closing: call.closing.clone(),
    };
    let view = Seen {
        call: call.detached(),
        output,
        selection,
    };
    let mut response = Response::new(Body::from_stream(Follower::new(feed, view).into_stream()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// One watch's view, by the call that opened it.
struct Seen {
    call: Call,
    output: Output,
    selection: Selection,
}

impl View for Seen {
    fn sees(&self, entry: &clos_store::Entry) -> Result<bool, ApiError> {
        self.selection.matches(&self.call.kind, entry)
    }

    fn text(&self, entry: clos_store::Entry, first: bool) -> Result<Vec<u8>, ApiError> {
        let object = Object::Stored(entry);
        match self.output.shape {
            Shape::Object | Shape::MetadataList => object.into_json(&self.call.kind),
            Shape::Metadata => Ok(partial(&object.into_value(&self.call.kind)?)
                .to_string()
                .into_bytes()),
            Shape::Table { version } => {
                let value = object.into_value(&self.call.kind)?;
                let mut metadata = serde_json::Map::new();
                metadata.insert(
                    "resourceVersion".to_owned(),
                    value["metadata"]["resourceVersion"].clone(),
                );
                let table = answer::as_table(&self.call, version, [&value], metadata, first)?;
                Ok(table.to_string().into_bytes())
            }
        }
    }

    fn bookmark(
        &self,
        revision: u64,
        initial_events_end: bool,
        first: bool,
    ) -> Result<Vec<u8>, ApiError> {
        let kind = &self.call.kind;
        let mut metadata = serde_json::json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_events_end {
            metadata["annotations"] = serde_json::json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = serde_json::json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata });
        let value = match self.output.shape {
            Shape::Object | Shape::MetadataList => object,
            Shape::Metadata => partial(&object),
            Shape::Table { version } => {
                let mut list = serde_json::Map::new();
                list.insert(
                    "resourceVersion".to_owned(),
                    serde_json::json!(revision.to_string()),
                );
                answer::as_table(&self.call, version, [&object], list, first)?
            }
        };
        Ok(value.to_string().into_bytes())
    }
}
