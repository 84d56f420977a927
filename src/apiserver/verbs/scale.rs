//! The `scale` subresource: an `autoscaling/v1` Scale as a view on the replicas of an object.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::admission::{self, Validation};
use super::part::Part;
use super::{Call, answer, options};
use crate::metadata::claim_name;
use crate::patch;
use crate::registry::{Scale, lookup};
use crate::request::body;
use crate::request::media::{Offer, Output};
use crate::status::{ApiError, Cause};
use crate::storage::{Change, Object, Terms};

/// Answers with the Scale of the object.
pub(super) fn get(call: &Call, scale: &Scale) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Plain)?;
    let entry = call
        .state
        .storage
        .get(&call.kind, call.namespace(), call.name())?;
    let object = Object::Stored(entry).into_value(&call.kind)?;
    answer::plain(output.format, StatusCode::OK, &view(scale, &object)?)
}

/// Changes the wished replicas by PUT or PATCH of a Scale and answers with the new one.
pub(super) async fn change(call: &mut Call, scale: &Scale) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Plain)?;
    let dry_run = options::dry_run(call)?;
    let validation = Validation::of(&call.query)?;
    let put = call.request.verb == crate::request::Verb::Update;
    let body = if put {
        Some(body::decode(&call.headers, &call.body)?.value)
    } else {
        None
    };
    let patch_type = if put {
        None
    } else {
        Some(super::patch::patch_type(call)?)
    };
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
                let mut wanted = match (&body, patch_type) {
                    (Some(body), _) => body.clone(),
                    (None, Some(patch_type)) => {
                        patch::apply(&view(scale, &old)?, &call_.body, patch_type)?
                    }
                    (None, None) => Value::Null,
                };
                claim_name(&mut wanted, call_.name())?;
                let new = scaled(call_, scale, &old, &wanted)?;
                match new {
                    None => Ok(Change::None),
                    Some(new) => admission::changed_object(
                        call_,
                        Part::Main,
                        &old,
                        new,
                        validation,
                        &mut warnings,
                    ),
                }
            },
        )
        .await?;
    call.warnings.append(&mut warnings);
    let object = Object::from(changed).into_value(&call.kind)?;
    answer::plain(output.format, StatusCode::OK, &view(scale, &object)?)
}

/// The object with the replicas of the Scale; `None` when it has them already.
fn scaled(
    call: &Call,
    scale: &Scale,
    old: &Value,
    wanted: &Value,
) -> Result<Option<Value>, ApiError> {
    let invalid = |cause| {
        Err(ApiError::invalid(
            "autoscaling",
            "Scale",
            call.name(),
            vec![cause],
        ))
    };
    // A Scale without the number asks for none, as its type says.
    let replicas = match &wanted["spec"]["replicas"] {
        Value::Null => 0,
        value => match value
            .as_i64()
            .filter(|replicas| i32::try_from(*replicas).is_ok())
        {
            Some(replicas) if replicas >= 0 => replicas,
            Some(_) => {
                return invalid(Cause::invalid(
                    "spec.replicas",
                    value,
                    "must be greater than or equal to 0",
                ));
            }
            None => {
                return invalid(Cause::type_invalid(
                    "spec.replicas",
                    value,
                    "must be a whole number",
                ));
            }
        },
    };
    let mut new = old.clone();
    for field in ["uid", "resourceVersion"] {
        let known = wanted["metadata"][field]
            .as_str()
            .filter(|text| !text.is_empty());
        if let Some(known) = known {
            new["metadata"][field] = json!(known);
        }
    }
    let same = lookup(old, &scale.spec_replicas).and_then(Value::as_i64) == Some(replicas);
    if same && new["metadata"] == old["metadata"] {
        return Ok(None);
    }
    let place = scale
        .spec_replicas
        .iter()
        .fold(&mut new, |value, name| &mut value[name.as_str()]);
    *place = json!(replicas);
    Ok(Some(new))
}

/// The Scale of an object; an object without the number of replicas has none.
fn view(scale: &Scale, object: &Value) -> Result<Value, ApiError> {
    let path = scale.spec_replicas.join(".");
    let replicas = lookup(object, &scale.spec_replicas)
        .and_then(Value::as_i64)
        .ok_or_else(|| {
            ApiError::internal(format!(
                "the spec replicas field \".{path}\" does not exist"
            ))
        })?;
    let metadata: Map<String, Value> = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ]
    .into_iter()
    .filter_map(|field| Some((field.to_owned(), object["metadata"].get(field)?.clone())))
    .collect();
    let mut status = json!({
        "replicas": lookup(object, &scale.status_replicas).and_then(Value::as_i64).unwrap_or_default(),
    });
    let selector = scale
        .selector
        .as_ref()
        .and_then(|path| lookup(object, path))
        .and_then(Value::as_str);
    if let Some(selector) = selector {
        status["selector"] = json!(selector);
    }
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": replicas }, "status": status,
    }))
}
