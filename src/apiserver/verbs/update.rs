//! PUT: an object, its status, or a namespace's finalizers, replaced by the body.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::admission::{self, Validation};
use super::part::Part;
use super::{Call, answer, options};
use crate::metadata;
use crate::request::body;
use crate::request::media::{Offer, Output};
use crate::status::{ApiError, Cause};
use crate::storage::{Object, Terms};

/// Replaces the object by that of the body, if it is the one the client knew.
pub(super) async fn update(call: &mut Call, part: Part) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Single)?;
    let dry_run = options::dry_run(call)?;
    let validation = Validation::of(&call.query)?;
    let decoded = body::decode(&call.headers, &call.body)?;
    let mut wanted = admission::addressed(call, decoded, validation)?;
    metadata::claim_name(&mut wanted, call.name())?;
    let known = wanted["metadata"]["resourceVersion"]
        .as_str()
        .is_some_and(|version| !version.is_empty());
    if !known && !call.kind.strategy.unconditional_update {
        let cause = Cause::invalid(
            "metadata.resourceVersion",
            &Value::from(0),
            "must be specified for an update",
        );
        return Err(ApiError::invalid(
            &call.kind.group,
            &call.kind.kind,
            call.name(),
            vec![cause],
        ));
    }
    let mut warnings = Vec::new();
    let call_ = &*call;
    let terms = Terms {
        dry_run,
        retry: !known,
        record: &|object: &Value| call_.record(object, 200),
    };
    let changed = call_
        .state
        .storage
        .change(
            &call_.kind,
            call_.namespace(),
            call_.name(),
            &terms,
            |old| {
                warnings.clear();
                admission::changed_object(
                    call_,
                    part,
                    &old,
                    wanted.clone(),
                    validation,
                    &mut warnings,
                )
            },
        )
        .await?;
    call.warnings.append(&mut warnings);
    answer::object(call, output, StatusCode::OK, Object::from(changed))
}
