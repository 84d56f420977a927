//! What is done with a resource, one file for each verb, generic over kinds. Nothing here knows a kind by name.

mod admission;
mod answer;
mod create;
mod delete;
mod delete_collection;
mod get;
mod list;
mod options;
mod part;
mod patch;
mod scale;
mod selection;
mod update;
mod watch;

use std::sync::Arc;

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use clos_store::Record;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::State;
use crate::audit;
use crate::caller::Caller;
use crate::registry::Kind;
use crate::request::query::Query;
use crate::request::{ResourceRequest, Verb};
use crate::status::ApiError;

pub(crate) use answer::plain;
use part::Part;

/// A request for a resource, with everything that answering it needs.
#[derive(Clone)]
pub(crate) struct Call {
    /// The server.
    pub(crate) state: Arc<State>,
    /// The kind of the resource.
    pub(crate) kind: Arc<Kind>,
    /// What the path and method say.
    pub(crate) request: ResourceRequest,
    /// The query.
    pub(crate) query: Query,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body; empty for reads.
    pub(crate) body: Bytes,
    /// Who asks, and from where.
    pub(crate) caller: Caller,
    /// Ends long answers.
    pub(crate) closing: CancellationToken,
    /// What the client should know although the request succeeds.
    pub(crate) warnings: Vec<String>,
}

/// Carries a request out. Errors are answers, too.
pub(crate) async fn handle(mut call: Call) -> Response {
    let mut response = match dispatch(&mut call).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    for warning in &call.warnings {
        if let Some(value) = warning_header(warning) {
            response
                .headers_mut()
                .append(HeaderName::from_static("warning"), value);
        }
    }
    response
}

async fn dispatch(call: &mut Call) -> Result<Response, ApiError> {
    let kind = Arc::clone(&call.kind);
    let verb = call.request.verb;
    let unsupported = || ApiError::method_not_allowed(&kind.group, &kind.plural, verb.as_str());
    let namespaced = call.request.namespace.is_some();
    if namespaced && !kind.namespaced {
        return Err(ApiError::unknown_resource());
    }
    let across = kind.namespaced && !namespaced;
    if across && !matches!(verb, Verb::List | Verb::Watch) || !kind.verbs.contains(&verb) {
        return Err(unsupported());
    }
    if call.request.subresource.as_deref() == Some("scale") {
        return match (&kind.scale, verb) {
            (None, _) => Err(ApiError::unknown_resource()),
            (Some(scale), Verb::Get) => scale::get(call, scale),
            (Some(scale), Verb::Update | Verb::Patch) => scale::change(call, scale).await,
            (Some(_), _) => Err(unsupported()),
        };
    }
    let part = Part::of(&kind, call.request.subresource.as_deref())
        .ok_or_else(ApiError::unknown_resource)?;
    match (verb, part) {
        (Verb::Get, Part::Main | Part::Status) => get::get(call),
        (Verb::List, _) => list::list(call),
        (Verb::Watch, _) => watch::watch(call),
        (Verb::Create, Part::Main) if call.request.name.is_none() => create::create(call).await,
        (Verb::Update, part) => update::update(call, part).await,
        (Verb::Patch, part) => patch::patch(call, part).await,
        (Verb::Delete, Part::Main) => delete::delete(call).await,
        (Verb::DeleteCollection, _) => delete_collection::delete_collection(call).await,
        (Verb::Get | Verb::Create | Verb::Delete, _) => Err(unsupported()),
    }
}

impl Call {
    /// The name in the path of a request for one object.
    fn name(&self) -> &str {
        self.request.name.as_deref().unwrap_or_default()
    }

    /// The namespace in the path.
    fn namespace(&self) -> Option<&str> {
        self.request.namespace.as_deref()
    }

    /// The same without its body, for an answer that outlives the request.
    fn detached(&self) -> Self {
        Self {
            body: Bytes::new(),
            ..self.clone()
        }
    }

    /// The audit record of this request's change to `object`, answered with `code`; none where it is not recorded.
    fn record(&self, object: &Value, code: u16) -> Option<Record> {
        audit::change(
            &self.state.journal,
            &self.caller,
            &self.request,
            &self.kind,
            object,
            code,
        )
    }
}

/// `299 - "text"`; none for text that cannot stand in a header.
fn warning_header(text: &str) -> Option<HeaderValue> {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace(['\n', '\r', '\t'], " ");
    HeaderValue::from_str(&format!("299 - \"{escaped}\"")).ok()
}
