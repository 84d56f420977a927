//! The options of a request, read from its query and body, and refused when they contradict each other.
//! Not here: selectors (`selection`) and field validation (`admission`).

use serde_json::{Value, json};

use super::Call;
use crate::request::Verb;
use crate::request::body;
use crate::request::query::Query;
use crate::status::{ApiError, Cause};
use crate::storage::{DeleteOptions, Position, Propagation};

/// Whether nothing shall be written. The only way to ask for that is `All`.
pub(super) fn dry_run(call: &Call) -> Result<bool, ApiError> {
    let options = match call.request.verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        Verb::Delete | Verb::DeleteCollection | Verb::Get | Verb::List | Verb::Watch => {
            "DeleteOptions"
        }
    };
    stages(options, call.query.get("dryRun").into_iter())
}

/// The most objects of one page; 0 is all.
pub(super) fn limit(query: &Query) -> Result<usize, ApiError> {
    Ok(query
        .number("limit")?
        .map_or(0, |limit| usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// Where a list begins.
pub(super) fn list_position(query: &Query) -> Result<Position, ApiError> {
    let version = query.get("resourceVersion");
    let matching = query.get("resourceVersionMatch");
    let token = query.get("continue");
    let mut causes = Vec::new();
    if query.flag("sendInitialEvents").is_some() {
        causes.push(Cause::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    match matching {
        Some(_) if token.is_some() => {
            causes.push(Cause::forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        Some(_) if version.is_none() => {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(Cause::forbidden("resourceVersionMatch", detail));
        }
        Some("Exact") if version == Some("0") => {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden("resourceVersionMatch", detail));
        }
        None | Some("Exact" | "NotOlderThan") => {}
        Some(other) => {
            causes.push(Cause::not_supported(
                "resourceVersionMatch",
                &json!(other),
                ["Exact", "NotOlderThan"],
            ));
        }
    }
    refuse(causes)?;
    let revision = revision(query)?;
    if let Some(token) = token {
        return match revision {
            None | Some(0) => Ok(Position::Token(token.to_owned())),
            Some(_) => Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            )),
        };
    }
    // Pages were exact before they could be asked to be.
    let exact = matching == Some("Exact") || matching.is_none() && limit(query)? > 0;
    Ok(match revision {
        None | Some(0) => Position::Newest,
        Some(revision) if exact => Position::Exact(revision),
        Some(revision) => Position::NotOlderThan(revision),
    })
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchStart {
    /// With everything there is, in a state that has reached a revision.
    Initial {
        /// The revision.
        at_least: u64,
    },
    /// With the first change after a revision.
    After(u64),
    /// With the next change.
    Now,
}

/// Reads where a watch begins.
pub(super) fn watch_start(query: &Query) -> Result<WatchStart, ApiError> {
    let initial = query.flag("sendInitialEvents");
    let matching = query.get("resourceVersionMatch");
    let mut causes = Vec::new();
    match (initial, matching) {
        (None, Some(_)) => {
            let detail =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(Cause::forbidden("resourceVersionMatch", detail));
        }
        (Some(_), Some("NotOlderThan")) | (None, None) => {}
        (Some(_), None) => {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden("resourceVersionMatch", detail));
        }
        (Some(_), Some(other)) => causes.push(Cause::not_supported(
            "resourceVersionMatch",
            &json!(other),
            ["NotOlderThan"],
        )),
    }
    if query.get("continue").is_some() {
        causes.push(Cause::forbidden(
            "continue",
            "continue is forbidden for watch",
        ));
    }
    refuse(causes)?;
    let revision = revision(query)?;
    Ok(match (initial, revision) {
        (Some(true), revision) => WatchStart::Initial {
            at_least: revision.unwrap_or(0),
        },
        (None, None | Some(0)) => WatchStart::Initial { at_least: 0 },
        (Some(false), None | Some(0)) => WatchStart::Now,
        (Some(false) | None, Some(revision)) => WatchStart::After(revision),
    })
}

/// The options of a delete, from the body or else from the query.
pub(super) fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let body = if call.body.is_empty() {
        json!({})
    } else {
        body::decode(&call.headers, &call.body)?.value
    };
    if !body.is_object() {
        return Err(ApiError::bad_request("the body must be DeleteOptions"));
    }
    if let Some(kind) = body["kind"]
        .as_str()
        .filter(|kind| *kind != "DeleteOptions")
    {
        return Err(ApiError::bad_request(format!(
            "the body must be DeleteOptions, not {kind}"
        )));
    }
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    };
    let from_body = stages(
        "DeleteOptions",
        body["dryRun"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str),
    )?;
    let policy = body["propagationPolicy"]
        .as_str()
        .or_else(|| call.query.get("propagationPolicy"));
    let orphan = body["orphanDependents"]
        .as_bool()
        .or_else(|| call.query.flag("orphanDependents"));
    let propagation = match (policy, orphan) {
        (None, None) => None,
        (None, Some(true)) | (Some("Orphan"), None) => Some(Propagation::Orphan),
        (None, Some(false)) | (Some("Background"), None) => Some(Propagation::Background),
        (Some("Foreground"), None) => Some(Propagation::Foreground),
        (Some(_), Some(_)) => {
            let detail = "orphanDependents and propagationPolicy cannot be both set";
            return Err(invalid(
                "DeleteOptions",
                vec![Cause::invalid("propagationPolicy", &json!(policy), detail)],
            ));
        }
        (Some(other), None) => {
            let cause = Cause::not_supported(
                "propagationPolicy",
                &json!(other),
                ["Background", "Foreground", "Orphan"],
            );
            return Err(invalid("DeleteOptions", vec![cause]));
        }
    };
    Ok(DeleteOptions {
        uid: text(&body["preconditions"]["uid"]),
        resource_version: text(&body["preconditions"]["resourceVersion"]),
        propagation,
        dry_run: from_body || dry_run(call)?,
    })
}

fn stages<'s>(options: &str, stages: impl Iterator<Item = &'s str>) -> Result<bool, ApiError> {
    let mut dry = false;
    for stage in stages {
        if stage != "All" {
            return Err(invalid(
                options,
                vec![Cause::not_supported("dryRun", &json!(stage), ["All"])],
            ));
        }
        dry = true;
    }
    Ok(dry)
}

fn revision(query: &Query) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.get("resourceVersion") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(revision) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(revision)),
        Ok(_) | Err(_) => Err(ApiError::bad_request(format!(
            "invalid resource version {text:?}: give a number that this server gave"
        ))),
    }
}

fn refuse(causes: Vec<Cause>) -> Result<(), ApiError> {
    if causes.is_empty() {
        Ok(())
    } else {
        Err(invalid("ListOptions", causes))
    }
}

fn invalid(kind: &str, causes: Vec<Cause>) -> ApiError {
    ApiError::invalid("meta.k8s.io", kind, "", causes)
}
