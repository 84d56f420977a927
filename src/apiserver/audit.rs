//! What of a request is written into the audit journal: every change, in the transaction that makes it, and every
//! denial, and every backup, which holds all secrets. Other reads, dry runs, and the reports of components are not: a component's reconcile
//! has an event of its own.

use std::sync::Arc;

use clos_audit::{Event, Journal, JournalError, Object, ObjectRef, Outcome, Request};
use clos_auth::Method;
use clos_store::Record;
use http::StatusCode;
use serde_json::Value;

use crate::caller::Caller;
use crate::registry::Kind;
use crate::request::ResourceRequest;
use crate::status::ApiError;
use crate::storage::place;

/// What a request turned out to be about, for the audit of a denial.
#[derive(Debug, Clone)]
pub(crate) enum About {
    /// A resource; its kind is none when there is no such resource.
    Resource(ResourceRequest, Option<Arc<Kind>>),
    /// The method's word and the path.
    Path(&'static str, String),
}

/// The record of a change to `object`, answered with `code`; none for what is not recorded.
pub(crate) fn change(
    journal: &Journal,
    caller: &Caller,
    request: &ResourceRequest,
    kind: &Kind,
    object: &Value,
    code: u16,
) -> Option<Record> {
    let by_component = caller
        .identity
        .as_ref()
        .is_some_and(|identity| identity.method == Method::Component);
    let reports = kind.strategy.is_report || request.subresource.as_deref() == Some("status");
    if caller.dry_run || by_component && reports {
        return None;
    }
    let (namespace, name) = place(object);
    let about = ObjectRef::new(&kind.group, &kind.version, &kind.kind)
        .in_namespace(namespace.unwrap_or_default())
        .named(name)
        .subresource(request.subresource.as_deref().unwrap_or_default());
    let event = Event {
        uid: object["metadata"]["uid"].as_str().map(ToOwned::to_owned),
        cause: Some(cause(caller)),
        ..event(
            caller,
            request.verb.as_str(),
            about.into(),
            Outcome::Allowed,
            code,
            None,
        )
    };
    Some(journal.within(event))
}

/// Records that everything was given out at `path`.
pub(crate) async fn exported(
    journal: &Journal,
    caller: &Caller,
    path: &str,
    what: &str,
) -> Result<(), JournalError> {
    let event = Event {
        cause: Some(cause(caller)),
        actions: vec![what.to_owned()],
        ..event(
            caller,
            "get",
            Object::path(path),
            Outcome::Allowed,
            StatusCode::OK.as_u16(),
            None,
        )
    };
    journal.record(event).await.map(drop)
}

/// Records that a request was refused. The refusal stands even when it cannot be recorded.
pub(crate) async fn denied(
    journal: &Journal,
    caller: &Caller,
    about: &About,
    code: StatusCode,
    error: Option<&ApiError>,
) {
    let (verb, object): (&str, Object) = match about {
        About::Path(verb, path) => (*verb, Object::path(path)),
        About::Resource(request, kind) => {
            let name = kind
                .as_ref()
                .map_or(request.resource.as_str(), |kind| kind.kind.as_str());
            let reference = ObjectRef::new(&request.group, &request.version, name)
                .in_namespace(request.namespace.as_deref().unwrap_or_default())
                .named(request.name.as_deref().unwrap_or_default())
                .subresource(request.subresource.as_deref().unwrap_or_default());
            (request.verb.as_str(), reference.into())
        }
    };
    let reason = error.map(|error| format!("{:?}", error.reason()));
    let event = Event {
        cause: error.map(|error| error.message().to_owned()),
        ..event(caller, verb, object, Outcome::Denied, code.as_u16(), reason)
    };
    if let Err(error) = journal.record(event).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            request = caller.request_id,
            "a denial was not recorded"
        );
    }
}

fn event(
    caller: &Caller,
    verb: &str,
    object: Object,
    result: Outcome,
    code: u16,
    reason: Option<String>,
) -> Event {
    Event {
        actor: caller
            .identity
            .as_ref()
            .map_or_else(|| "anonymous".to_owned(), ToString::to_string),
        verb: verb.to_owned(),
        object,
        uid: None,
        cause: None,
        actions: Vec::new(),
        result,
        duration_ms: None,
        request: Some(Request {
            id: caller.request_id.clone(),
            source: caller.remote,
            user_agent: caller.agent.clone(),
            code,
            reason,
        }),
    }
}

/// Why, as far as a request tells: which program asked for it.
fn cause(caller: &Caller) -> String {
    let program = caller
        .agent
        .as_deref()
        .map(|agent| agent.split('/').next().unwrap_or(agent));
    match (caller.manager.as_deref(), program) {
        (Some(manager), _) => format!("requested by {manager}"),
        (None, Some(program)) if !program.is_empty() => format!("requested by {program}"),
        (None, _) => match &caller.identity {
            Some(component) if component.method == Method::Component => {
                format!("requested by {component}")
            }
            _ => "requested by a client that does not name itself".to_owned(),
        },
    }
}
