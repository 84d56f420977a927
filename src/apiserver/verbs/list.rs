//! GET of a collection, whole or in pages.

use axum::response::Response;

use super::selection::Selection;
use super::{Call, answer, options};
use crate::request::media::{Offer, Output};
use crate::status::ApiError;
use crate::storage::Filter;

/// Answers with the objects that the selectors choose.
pub(super) fn list(call: &Call) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::List)?;
    let position = options::list_position(&call.query)?;
    let limit = options::limit(&call.query)?;
    let selection = Selection::of(call)?;
    let matches = |entry: &clos_store::Entry| selection.matches(&call.kind, entry);
    let filter: Option<&Filter<'_>> = if selection.is_everything() {
        None
    } else {
        Some(&matches)
    };
    let page = call
        .state
        .storage
        .list(&call.kind, call.namespace(), &position, limit, filter)?;
    answer::list(call, output, page)
}
