//! DELETE of a collection: every object the selectors choose, one after the other.

use axum::response::Response;
use serde_json::Value;

use super::delete::delete_one;
use super::selection::Selection;
use super::{Call, answer, options};
use crate::request::media::{Offer, Output};
use crate::status::{ApiError, Reason};
use crate::storage::{Changed, Object, place_of_key, refuse_permanent};

/// Deletes what the selectors choose and answers with the list of it.
pub(super) async fn delete_collection(call: &Call) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::List)?;
    let deletion = options::delete_options(call)?;
    let position = options::list_position(&call.query)?;
    let selection = Selection::of(call)?;
    let page = {
        let matches = |entry: &clos_store::Entry| selection.matches(&call.kind, entry);
        call.state.storage.list(
            &call.kind,
            call.namespace(),
            &position,
            options::limit(&call.query)?,
            Some(&matches),
        )?
    };
    // Before the first one goes.
    for entry in &page.entries {
        refuse_permanent(&call.kind, place_of_key(&call.kind, &entry.key).1)?;
    }
    let mut items: Vec<Value> = Vec::with_capacity(page.entries.len());
    for entry in page.entries {
        let key = entry.key.clone();
        let (namespace, name) = place_of_key(&call.kind, &key);
        match delete_one(call, name, namespace, &deletion).await {
            Ok(Changed::Kept(object)) => items.push(object.into_value(&call.kind)?),
            Ok(Changed::Removed(_)) => items.push(Object::Stored(entry).into_value(&call.kind)?),
            // Somebody else has deleted it in between, which is what was asked for.
            Err(error) if error.reason() == Reason::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    answer::items(call, output, &items, page.revision)
}
