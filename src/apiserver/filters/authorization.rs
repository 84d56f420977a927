//! Whether the caller may do what is asked. What each identity may do is `clos_auth`'s decision.

use clos_auth::{Attributes, Decision, Identity, Target, authorize};

use crate::request::ResourceRequest;
use crate::status::ApiError;

/// 403 unless the caller may do this with the resource.
pub(super) fn resource(
    identity: Option<&Identity>,
    request: &ResourceRequest,
) -> Result<(), ApiError> {
    // Everybody who is known may ask what he himself may do, or else no client could tell him.
    if is_self_review(request) && identity.is_some() {
        return Ok(());
    }
    let target = Target::Resource {
        group: &request.group,
        resource: &request.resource,
        subresource: request.subresource.as_deref(),
        namespace: request.namespace.as_deref(),
        name: request.name.as_deref(),
    };
    let attributes = Attributes {
        verb: request.verb.as_str(),
        target,
    };
    decide(identity, &attributes, |reason| {
        let name = request.name.as_deref().unwrap_or_default();
        ApiError::forbidden(&request.group, &request.resource, name, reason)
    })
}

/// 403 unless the caller may ask for the path; no identity is let through to what is public, and to nothing else.
pub(super) fn path(identity: Option<&Identity>, verb: &str, path: &str) -> Result<(), ApiError> {
    if identity.is_none() {
        return Ok(());
    }
    let attributes = Attributes {
        verb,
        target: Target::Path(path),
    };
    decide(identity, &attributes, |reason| {
        ApiError::forbidden("", "", "", reason)
    })
}

fn decide(
    identity: Option<&Identity>,
    attributes: &Attributes<'_>,
    refuse: impl Fn(&str) -> ApiError,
) -> Result<(), ApiError> {
    let identity = identity.ok_or_else(ApiError::unauthorized)?;
    match authorize(identity, attributes) {
        Decision::Allow => Ok(()),
        Decision::Deny { reason } => Err(refuse(&reason)),
    }
}

fn is_self_review(request: &ResourceRequest) -> bool {
    matches!(
        (request.group.as_str(), request.resource.as_str()),
        ("authentication.k8s.io", "selfsubjectreviews")
            | (
                "authorization.k8s.io",
                "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
            )
    )
}
