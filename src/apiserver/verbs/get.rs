//! GET of one object, or of its status.

use axum::response::Response;
use http::StatusCode;

use super::{Call, answer};
use crate::request::media::{Offer, Output};
use crate::status::ApiError;
use crate::storage::Object;

/// Answers with the object.
pub(super) fn get(call: &Call) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Single)?;
    let entry = call
        .state
        .storage
        .get(&call.kind, call.namespace(), call.name())?;
    answer::object(call, output, StatusCode::OK, Object::Stored(entry))
}
