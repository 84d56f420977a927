//! PATCH: an object or its status, changed by a merge, JSON or strategic merge patch. Without a resource version in it,
//! a patch is applied again to whatever somebody else wrote in between.

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::admission::{self, Validation};
use super::part::Part;
use super::{Call, answer, options};
use crate::patch::{self, PatchType};
use crate::request::body;
use crate::request::media::{Offer, Output};
use crate::status::{ApiError, Cause};
use crate::storage::{Object, Terms};

/// Applies the body to the object.
pub(super) async fn patch(call: &mut Call, part: Part) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Single)?;
    let dry_run = options::dry_run(call)?;
    let validation = Validation::of(&call.query)?;
    let patch_type = patch_type(call)?;
    let mut warnings = Vec::new();
    let call_ = &*call;
    let terms = Terms {
        dry_run,
        retry: true,
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
                let patched = patch::apply(&old, &call_.body, patch_type)
                    .map_err(|error| about(call_, error))?;
                admission::patched_object(call_, part, &old, patched, validation, &mut warnings)
            },
        )
        .await?;
    call.warnings.append(&mut warnings);
    answer::object(call, output, StatusCode::OK, Object::from(changed))
}

/// The patch's type from its media type: 415 with what this kind takes, 422 for options that belong to apply.
pub(super) fn patch_type(call: &Call) -> Result<PatchType, ApiError> {
    let accepted: &[PatchType] = if call.kind.strategy.strategic_merge {
        &[PatchType::Json, PatchType::Merge, PatchType::Strategic]
    } else {
        &[PatchType::Json, PatchType::Merge]
    };
    let patch_type = PatchType::of_media_type(&body::media_type(&call.headers))
        .filter(|patch_type| accepted.contains(patch_type))
        .ok_or_else(|| {
            let names: Vec<&str> = accepted.iter().map(|one| one.media_type()).collect();
            ApiError::unsupported_media_type(&names)
        })?;
    if call.query.flag("force").is_some() {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(ApiError::invalid(
            "meta.k8s.io",
            "PatchOptions",
            "",
            vec![cause],
        ));
    }
    Ok(patch_type)
}

/// What the patch could not do concerns this object.
fn about(call: &Call, error: ApiError) -> ApiError {
    if error.reason() == crate::status::Reason::Invalid {
        error.concerning(&call.kind.group, &call.kind.kind, call.name())
    } else {
        error
    }
}
