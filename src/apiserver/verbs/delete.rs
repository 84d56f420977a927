//! DELETE of one object: at once, or as soon as its finalizers let it go.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::{Call, answer, options};
use crate::request::media::{Offer, Output};
use crate::status::{ApiError, deleted};
use crate::storage::{Change, Changed, DeleteOptions, Deletion, Terms, mark};

/// Deletes the object and answers with a success, or with the object where it stays for now.
pub(super) async fn delete(call: &Call) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Single)?;
    let options = options::delete_options(call)?;
    match delete_one(call, call.name(), call.namespace(), &options).await? {
        Changed::Kept(object) => answer::object(call, output, StatusCode::OK, object),
        Changed::Removed(last) => {
            let uid = last["metadata"]["uid"].as_str().unwrap_or_default();
            let status = deleted(&call.kind.group, &call.kind.plural, call.name(), uid);
            answer::plain(output.format, StatusCode::OK, &status)
        }
    }
}

/// Deletes one object; what is left of it, or its last state.
pub(super) async fn delete_one(
    call: &Call,
    name: &str,
    namespace: Option<&str>,
    options: &DeleteOptions,
) -> Result<Changed, ApiError> {
    let kind = &call.kind;
    let now = (call.state.clock)();
    let terms = Terms {
        dry_run: options.dry_run,
        retry: true,
        record: &|object: &Value| call.record(object, 200),
    };
    call.state
        .storage
        .change(kind, namespace, name, &terms, |object| {
            Ok(match mark(kind, &object, options, now)? {
                Deletion::Remove => Change::Remove(object),
                Deletion::Mark(marked) => Change::Write(marked),
                Deletion::Pending => Change::None,
            })
        })
        .await
}
