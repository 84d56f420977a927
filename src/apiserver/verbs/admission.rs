//! What a write makes of an object before it is stored: only the part that was addressed changes, the fields of the
//! server stay the server's, defaults are filled in, and everything that is wrong is found at once. The rules
//! themselves stand in `schema`, `cel`, `metadata` and the kind's strategy.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Call;
use super::part::{Part, declares_otherwise, isolate, metadata_of, remove};
use crate::metadata;
use crate::registry::Kind;
use crate::request::body::Decoded;
use crate::request::query::Query;
use crate::schema::Findings;
use crate::status::{ApiError, Cause, CauseReason, quoted};
use crate::storage::{Change, release, seconds};

/// What happens with fields that nobody declared or that stand twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validation {
    /// They are dropped.
    Ignore,
    /// They are dropped with a warning.
    Warn,
    /// They are refused.
    Strict,
}

impl Validation {
    /// What the query asks for; absent is a warning.
    pub(crate) fn of(query: &Query) -> Result<Self, ApiError> {
        match query.get("fieldValidation") {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => {
                let cause = Cause::not_supported(
                    "fieldValidation",
                    &json!(other),
                    ["Ignore", "Strict", "Warn"],
                );
                Err(ApiError::invalid(
                    "meta.k8s.io",
                    "PatchOptions",
                    "",
                    vec![cause],
                ))
            }
        }
    }
}

/// The object of a body, if it is what the path is about: of this kind, in this namespace. Duplicated fields are
/// reported as `validation` says.
pub(super) fn addressed(
    call: &mut Call,
    decoded: Decoded,
    validation: Validation,
) -> Result<Value, ApiError> {
    let mut object = decoded.value;
    address(call, &mut object)?;
    let duplicates = decoded
        .duplicates
        .iter()
        .map(|path| format!("duplicate field {}", quoted(path)));
    match validation {
        Validation::Ignore => {}
        Validation::Warn => call.warnings.extend(duplicates),
        Validation::Strict => {
            let sentences: Vec<String> = duplicates.collect();
            if !sentences.is_empty() {
                return Err(strict(&call.kind, &sentences));
            }
        }
    }
    Ok(object)
}

/// Completes a new object and finds everything that is wrong with it.
pub(super) fn new_object(
    call: &mut Call,
    mut object: Value,
    validation: Validation,
) -> Result<Value, ApiError> {
    let kind = Arc::clone(&call.kind);
    let unknown = metadata::admit(&mut object)?;
    let metadata = metadata_of(&mut object);
    if metadata
        .get("resourceVersion")
        .and_then(Value::as_str)
        .is_some_and(|version| !version.is_empty())
    {
        return Err(ApiError::internal(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    for field in [
        "resourceVersion",
        "selfLink",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".to_owned(), json!(seconds(now(call))));
    if kind.strategy.generation {
        metadata.insert("generation".to_owned(), json!(1));
    }
    if kind.status {
        remove(&mut object, "status");
    }
    (kind.strategy.prepare_for_create)(&mut object);
    let mut findings = Findings {
        unknown,
        causes: Vec::new(),
    };
    kind.schema.admit(&mut object, &mut findings);
    kind.rules.check(&kind.schema, &object, None, &mut findings);
    // Only now: a bad name keeps no rule from being judged.
    findings
        .causes
        .splice(0..0, metadata::check_create(&object, kind.strategy.names));
    (kind.strategy.validate)(&object, None, &mut findings.causes);
    let mut warnings = metadata::warnings(&object);
    refuse(&kind, &object, findings, validation, &mut warnings, false)?;
    call.warnings.append(&mut warnings);
    Ok(object)
}

/// What replacing `old` by `new` comes to: 409 when the client did not know `old`.
pub(super) fn changed_object(
    call: &Call,
    part: Part,
    old: &Value,
    new: Value,
    validation: Validation,
    warnings: &mut Vec<String>,
) -> Result<Change, ApiError> {
    let text = |object: &Value, field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (wanted, actual) = (text(&new, "uid"), text(old, "uid"));
    if !wanted.is_empty() && wanted != actual {
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}"
        );
        return Err(ApiError::conflict(
            &call.kind.group,
            &call.kind.plural,
            call.name(),
            &why,
        ));
    }
    change(call, part, old, new, validation, warnings, false)
}

/// What a patched object comes to; it has been `old` and may have been changed anywhere.
pub(super) fn patched_object(
    call: &Call,
    part: Part,
    old: &Value,
    mut new: Value,
    validation: Validation,
    warnings: &mut Vec<String>,
) -> Result<Change, ApiError> {
    address(call, &mut new)?;
    change(call, part, old, new, validation, warnings, true)
}

fn change(
    call: &Call,
    part: Part,
    old: &Value,
    mut new: Value,
    validation: Validation,
    warnings: &mut Vec<String>,
    patch: bool,
) -> Result<Change, ApiError> {
    let kind = &call.kind;
    let known = new["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    if !known.is_empty() && Some(known) != old["metadata"]["resourceVersion"].as_str() {
        return Err(ApiError::modified(&kind.group, &kind.plural, call.name()));
    }
    let unknown = metadata::admit(&mut new)?;
    let mut object = isolate(kind, part, old, new)?;
    let mut findings = Findings::default();
    match part {
        Part::Main => {
            findings.unknown = unknown;
            (kind.strategy.prepare_for_update)(&mut object, old);
            kind.schema.admit(&mut object, &mut findings);
            kind.rules
                .check(&kind.schema, &object, Some(old), &mut findings);
            findings
                .causes
                .splice(0..0, metadata::check_update(&object, old));
            (kind.strategy.validate)(&object, Some(old), &mut findings.causes);
            warnings.extend(metadata::warnings(&object));
        }
        Part::Status => {
            kind.schema
                .admit_field("status", &mut object, &mut findings);
            kind.rules
                .check_field("status", &kind.schema, &object, Some(old), &mut findings);
        }
        Part::Finalize => {}
    }
    refuse(kind, &object, findings, validation, warnings, patch)?;
    if part == Part::Main && kind.strategy.generation && declares_otherwise(kind, &object, old) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        object["metadata"]["generation"] = json!(generation + 1);
    }
    if release(kind, &object) {
        return Ok(Change::Remove(object));
    }
    Ok(Change::Write(object))
}

/// Turns what was found into the answer: unknown fields as `validation` says, mistakes all at once.
fn refuse(
    kind: &Kind,
    object: &Value,
    findings: Findings,
    validation: Validation,
    warnings: &mut Vec<String>,
    patch: bool,
) -> Result<(), ApiError> {
    let Findings {
        unknown,
        mut causes,
    } = findings;
    let sentences: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    match validation {
        Validation::Ignore => {}
        Validation::Warn => warnings.extend(sentences),
        Validation::Strict if sentences.is_empty() => {}
        Validation::Strict if !causes.is_empty() => {
            // One answer for everything: who mends the mistakes should not meet the next one afterwards.
            causes.extend(unknown.iter().map(|field| {
                let meant = field
                    .meant
                    .as_ref()
                    .map(|meant| format!(", did you mean {}?", quoted(meant)))
                    .unwrap_or_default();
                Cause::new(
                    CauseReason::FieldValueInvalid,
                    &field.path,
                    format!("Invalid value: unknown field{meant}"),
                )
            }));
        }
        Validation::Strict if patch => {
            let message = format!(
                "Invalid value: strict decoding error: {}",
                sentences.join(", ")
            );
            let cause = Cause::new(CauseReason::FieldValueInvalid, "patch", message);
            return Err(ApiError::invalid("", "", "", vec![cause]));
        }
        Validation::Strict => return Err(strict(kind, &sentences)),
    }
    if causes.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Err(ApiError::invalid(&kind.group, &kind.kind, name, causes))
}

fn strict(kind: &Kind, sentences: &[String]) -> ApiError {
    ApiError::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
        sentences.join(", "),
        kind = kind.kind,
        version = kind.version,
    ))
}

/// Checks and completes what an object says it is and where it lives.
fn address(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let kind = &call.kind;
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "the body must be a {} object",
            kind.kind
        )));
    };
    let expected = kind.api_version();
    match fields.get("apiVersion").and_then(Value::as_str) {
        Some(found) if found == expected => {}
        None | Some("") => drop(fields.insert("apiVersion".to_owned(), json!(expected))),
        Some(found) => {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({found}) does not match the expected API version ({expected})"
            )));
        }
    }
    match fields.get("kind").and_then(Value::as_str) {
        Some(found) if found == kind.kind => {}
        None | Some("") => drop(fields.insert("kind".to_owned(), json!(kind.kind))),
        Some(found) => {
            let cause = Cause::invalid_text("kind", found, &format!("must be {}", kind.kind));
            return Err(ApiError::invalid(
                &kind.group,
                &kind.kind,
                call.name(),
                vec![cause],
            ));
        }
    }
    metadata::claim_namespace(object, call.namespace())
}

fn now(call: &Call) -> Timestamp {
    (call.state.clock)()
}
