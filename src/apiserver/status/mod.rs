//! `ApiError`, the one answer to everything that goes wrong, and the only place that picks an HTTP code. Deciding
//! that something is wrong happens elsewhere.

mod field;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeSet;
use std::fmt;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

pub(crate) use field::{Cause, CauseReason, FieldPath, quoted, shown};
pub(crate) use wire::Reason;
use wire::{DetailCause, Details, ListMeta, Status};

/// A failed request as the client sees it: a `Status` object of `v1` with its HTTP code. Cheap to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError(Box<Status>);

impl ApiError {
    /// 404: no object of this name. `resource` is the plural.
    pub(crate) fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {} not found", qualified(resource, group), quoted(name));
        Self::about(Reason::NotFound, message, group, resource, name)
    }

    /// 404 for a path that leads nowhere in an otherwise known group.
    pub(crate) fn unknown_resource() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Self::with(Reason::NotFound, message, Some(Details::default()))
    }

    /// 409: the name is taken. `resource` is the plural.
    pub(crate) fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {} already exists",
            qualified(resource, group),
            quoted(name)
        );
        Self::about(Reason::AlreadyExists, message, group, resource, name)
    }

    /// 409: no free name was found for a `generateName`; worth another try after a second.
    pub(crate) fn generate_name_conflict(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {} already exists, the server was not able to generate a unique name for the object",
            qualified(resource, group),
            quoted(name)
        );
        Self::about(Reason::AlreadyExists, message, group, resource, name).retry_after(1)
    }

    /// 409: the write cannot be carried out on the object as it is now; `why` ends the sentence.
    pub(crate) fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            qualified(resource, group),
            quoted(name)
        );
        Self::about(Reason::Conflict, message, group, resource, name)
    }

    /// 409: the client changed an older state than the present one.
    pub(crate) fn modified(group: &str, resource: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    /// 422: every mistake in one object. `kind` is the kind, not the plural.
    pub(crate) fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        let subject = format!("{} {} is invalid", qualified(kind, group), quoted(name));
        let mut seen = BTreeSet::new();
        let lines: Vec<String> = causes
            .iter()
            .map(Cause::to_string)
            .filter(|line| seen.insert(line.clone()))
            .collect();
        let message = match lines.as_slice() {
            [] => subject,
            [line] => format!("{subject}: {line}"),
            lines => format!("{subject}: [{}]", lines.join(", ")),
        };
        let mut error = Self::about(Reason::Invalid, message, group, kind, name);
        if let Some(details) = &mut error.0.details {
            details.causes = causes.into_iter().map(DetailCause::Field).collect();
        }
        error
    }

    /// 422 without a field to blame: a patch that is well-formed but cannot be carried out on this object.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::with(Reason::Invalid, message.into(), Some(Details::default()))
    }

    /// 400: the request itself is malformed.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::with(Reason::BadRequest, message.into(), None)
    }

    /// 401: nobody we know, or no credentials.
    pub(crate) fn unauthorized() -> Self {
        Self::with(Reason::Unauthorized, "Unauthorized".to_owned(), None)
    }

    /// 403: known, but not allowed; `why` ends the sentence. An empty `name` speaks of the whole resource, an empty
    /// `resource` of a path.
    pub(crate) fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{} is forbidden: {why}", qualified(resource, group)),
            _ => format!(
                "{} {} is forbidden: {why}",
                qualified(resource, group),
                quoted(name)
            ),
        };
        Self::about(Reason::Forbidden, message, group, resource, name)
    }

    /// 403: nothing new may be made in a namespace that is being deleted.
    pub(crate) fn namespace_terminating(
        group: &str,
        resource: &str,
        name: &str,
        namespace: &str,
    ) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let cause = Cause::new(
            CauseReason::NamespaceTerminating,
            "metadata.namespace",
            format!("namespace {namespace} is being terminated"),
        );
        Self::forbidden(group, resource, name, &why).caused_by(cause)
    }

    /// 410: the resource version is older than the kept history.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::with(Reason::Expired, message.into(), None)
    }

    /// 410 for a list page whose snapshot is gone, with a token that carries on inconsistently.
    pub(crate) fn expired_continue(token: String) -> Self {
        let message = "The provided continue parameter is too old to give a consistent list. Start a new list without \
                       it, or use the continue token of this answer to read the remainder: objects that changed since \
                       the first page may then be missing or appear as they are now.";
        let mut error = Self::expired(message);
        error.0.metadata.continue_token = Some(token);
        error
    }

    /// 413: the body is larger than `limit` bytes.
    pub(crate) fn request_too_large(limit: usize) -> Self {
        Self::too_large(&format!("limit is {limit}"))
    }

    /// 413 for another limit than that of the body, which `why` names.
    pub(crate) fn too_large(why: &str) -> Self {
        let message = format!("Request entity too large: {why}");
        Self::with(Reason::RequestEntityTooLarge, message, None)
    }

    /// 415: the body's media type is none of `accepted`.
    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::with(Reason::UnsupportedMediaType, message, None)
    }

    /// 406: the client accepts none of the media types in `offered`.
    pub(crate) fn not_acceptable(offered: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            offered.join(", ")
        );
        Self::with(Reason::NotAcceptable, message, None)
    }

    /// 405: this resource has no such verb.
    pub(crate) fn method_not_allowed(group: &str, resource: &str, verb: &str) -> Self {
        let what = quoted(&qualified(resource, group));
        let message = format!("{verb} is not supported on resources of kind {what}");
        Self::about(Reason::MethodNotAllowed, message, group, resource, "")
    }

    /// 504: the client asks for a resource version the store has not reached; worth another try after a second.
    pub(crate) fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = Cause::new(
            CauseReason::ResourceVersionTooLarge,
            "",
            "Too large resource version",
        );
        Self::with(Reason::Timeout, message, Some(Details::default()))
            .caused_by(cause)
            .retry_after(1)
    }

    /// 504: the request was not finished in time and may still be carried out.
    pub(crate) fn timeout(why: &str) -> Self {
        Self::with(
            Reason::Timeout,
            format!("Timeout: {why}"),
            Some(Details::default()),
        )
        .retry_after(1)
    }

    /// 500: our mistake. `why` is told to the client, so it holds no secret.
    pub(crate) fn internal(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        let message = format!("Internal error occurred: {why}");
        let details = Details {
            causes: vec![DetailCause::Bare { message: why }],
            ..Details::default()
        };
        Self::with(Reason::InternalError, message, Some(details))
    }

    /// 503: not now; worth another try after a second.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::with(
            Reason::ServiceUnavailable,
            message.into(),
            Some(Details::default()),
        )
        .retry_after(1)
    }

    /// The same error with the object it is about, where a pure function below did not know the object.
    #[must_use]
    pub(crate) fn concerning(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.0.details.get_or_insert_with(Details::default);
        group.clone_into(&mut details.group);
        kind.clone_into(&mut details.kind);
        name.clone_into(&mut details.name);
        self
    }

    /// The HTTP code.
    pub(crate) fn code(&self) -> StatusCode {
        self.0.reason.code()
    }

    /// What kind of failure it is, for callers that act on it.
    pub(crate) fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The sentence for people.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// The `Status` object, as an `ERROR` watch event carries it.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(&*self.0).expect("a Status holds only text, numbers and lists of them")
    }

    fn about(reason: Reason, message: String, group: &str, kind: &str, name: &str) -> Self {
        let details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Details::default()
        };
        Self::with(reason, message, Some(details))
    }

    fn with(reason: Reason, message: String, details: Option<Details>) -> Self {
        Self(Box::new(Status {
            kind: "Status",
            api_version: "v1",
            metadata: ListMeta::default(),
            outcome: "Failure",
            message,
            reason,
            details,
            code: reason.code().as_u16(),
        }))
    }

    fn caused_by(mut self, cause: Cause) -> Self {
        let details = self.0.details.get_or_insert_with(Details::default);
        details.causes.push(DetailCause::Field(cause));
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        let details = self.0.details.get_or_insert_with(Details::default);
        details.retry_after_seconds = Some(seconds);
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ApiError {}

/// The answer carries the error, for the filters behind.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&*self.0)
            .expect("a Status holds only text, numbers and lists of them");
        let mut response = (self.code(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let seconds = self
            .0
            .details
            .as_ref()
            .and_then(|details| details.retry_after_seconds);
        if let Some(seconds) = seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer to a delete that removed the object at once. `resource` is the plural.
pub(crate) fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Value {
    let mut details = json!({ "name": name, "kind": resource, "uid": uid });
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}
