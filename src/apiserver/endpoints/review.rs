//! Reviews: a client asks who it is and what it may do. Nothing is stored.

use axum::body::Bytes;
use axum::response::Response;
use clos_auth::{Attributes, Decision, Identity, Target, authorize};
use http::StatusCode;
use http::request::Parts;
use serde_json::{Value, json};

use super::not_found;
use crate::State;
use crate::request::media::{Offer, Output};
use crate::request::{ResourceRequest, Verb, body};
use crate::status::ApiError;
use crate::verbs::plain;

/// Answers a request for a resource that is no kind of the registry: a review, or nothing.
pub(crate) fn review(
    state: &State,
    identity: Option<&Identity>,
    parts: &Parts,
    request: &ResourceRequest,
    bytes: &Bytes,
) -> Result<Response, ApiError> {
    let reviewer: fn(&State, &Identity, &mut Value) =
        match (request.group.as_str(), request.resource.as_str()) {
            ("authentication.k8s.io", "selfsubjectreviews") => who_am_i,
            ("authorization.k8s.io", "selfsubjectaccessreviews") => may_i,
            ("authorization.k8s.io", "selfsubjectrulesreviews") => what_may_i,
            _ => return Ok(not_found()),
        };
    if request.version != "v1" || request.namespace.is_some() || request.name.is_some() {
        return Ok(not_found());
    }
    if request.verb != Verb::Create {
        return Err(ApiError::method_not_allowed(
            &request.group,
            &request.resource,
            request.verb.as_str(),
        ));
    }
    let identity = identity.ok_or_else(ApiError::unauthorized)?;
    let output = Output::negotiate(&parts.headers, Offer::Plain)?;
    let mut object = body::decode(&parts.headers, bytes)?.value;
    if !object.is_object() {
        return Err(ApiError::bad_request("the body must be a review object"));
    }
    reviewer(state, identity, &mut object);
    plain(output.format, StatusCode::CREATED, &object)
}

fn who_am_i(_: &State, identity: &Identity, object: &mut Value) {
    let mut groups: Vec<&str> = identity.groups.iter().map(String::as_str).collect();
    groups.push("system:authenticated");
    object["status"] = json!({ "userInfo": { "username": identity.user, "groups": groups } });
}

fn may_i(_: &State, identity: &Identity, object: &mut Value) {
    let spec = &object["spec"];
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(ToOwned::to_owned)
    };
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let decision = if resource.is_object() {
        let target = Target::Resource {
            group: resource["group"].as_str().unwrap_or_default(),
            resource: resource["resource"].as_str().unwrap_or_default(),
            subresource: resource["subresource"]
                .as_str()
                .filter(|part| !part.is_empty()),
            namespace: resource["namespace"]
                .as_str()
                .filter(|namespace| !namespace.is_empty()),
            name: resource["name"].as_str().filter(|name| !name.is_empty()),
        };
        authorize(
            identity,
            &Attributes {
                verb: resource["verb"].as_str().unwrap_or_default(),
                target,
            },
        )
    } else {
        let target = Target::Path(path["path"].as_str().unwrap_or_default());
        authorize(
            identity,
            &Attributes {
                verb: &text(&path["verb"]).unwrap_or_default(),
                target,
            },
        )
    };
    object["status"] = match decision {
        Decision::Allow => json!({ "allowed": true }),
        Decision::Deny { reason } => json!({ "allowed": false, "reason": reason }),
    };
}

/// The rules are those of the authoriser: everything or nothing.
fn what_may_i(_: &State, identity: &Identity, object: &mut Value) {
    let everything = Attributes {
        verb: "*",
        target: Target::Path("*"),
    };
    let all = authorize(identity, &everything) == Decision::Allow;
    let (resources, paths) = if all {
        (
            json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }]),
            json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]),
        )
    } else {
        (json!([]), json!([]))
    };
    object["status"] =
        json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false });
}
