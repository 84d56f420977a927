//! The chain every request goes through, from the socket and from within the process alike, in the order of
//! Kubernetes' own. Each filter is one step of `chain`; what is answered in the end is the business of `verbs` and
//! `endpoints`.

mod authentication;
mod authorization;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use clos_auth::Identity;
use futures::FutureExt as _;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::State;
use crate::audit::{self, About};
use crate::caller::Caller;
use crate::endpoints;
use crate::request::RequestInfo;
use crate::request::query::Query;
use crate::status::ApiError;
use crate::verbs::{self, Call};

/// The largest body, as Kubernetes limits it.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long a client may take to send its body.
const BODY_PATIENCE: Duration = Duration::from_mins(1);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The peer's address, put into the request by the listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote(pub(crate) IpAddr);

/// Ends long answers of the listener that puts it into the request.
#[derive(Debug, Clone)]
pub(crate) struct Closing(pub(crate) CancellationToken);

/// What metrics call a request.
#[derive(Debug, Clone, Copy)]
struct Labels {
    verb: &'static str,
    resource: &'static str,
}

/// Answers a request. It never fails: what goes wrong is an answer, too.
pub(crate) async fn chain(state: Arc<State>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let caller = caller(&parts, &query);
    let mut labels = Labels {
        verb: "other",
        resource: "none",
    };
    let mut about = About::Path(method_word(&parts), parts.uri.path().to_owned());
    let answer = answer(&state, &caller, parts, body, query, &mut labels, &mut about);
    let mut response = match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(),
        Err(_) => {
            tracing::error!(request = caller.request_id, "answering a request panicked");
            ApiError::internal("this is a fault of the server; its log says more").into_response()
        }
    };
    let code = response.status();
    if matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let error = response.extensions_mut().remove::<ApiError>();
        audit::denied(&state.journal, &caller, &about, code, error.as_ref()).await;
    }
    state.metrics.api_request(
        labels.verb,
        labels.resource,
        code.as_u16(),
        started.elapsed(),
    );
    if let Ok(id) = HeaderValue::from_str(&caller.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The steps that may refuse a request, and the handler behind them.
async fn answer(
    state: &Arc<State>,
    caller: &Caller,
    parts: Parts,
    body: Body,
    query: Query,
    labels: &mut Labels,
    about: &mut About,
) -> Result<Response, ApiError> {
    let path = parts.uri.path();
    let info = RequestInfo::parse(&parts.method, path, &query);
    let mut kind = None;
    match &info {
        Some(RequestInfo::Resource(request)) => {
            kind = state
                .registry
                .find(&request.group, &request.version, &request.resource)
                .cloned();
            labels.verb = request.verb.as_str();
            labels.resource = kind.as_ref().map_or("unknown", |kind| kind.label);
            *about = About::Resource(request.clone(), kind.clone());
        }
        Some(RequestInfo::NonResource) => labels.verb = method_word(&parts),
        None => {}
    }
    let identity = authentication::authenticate(caller, &parts.method, path)?;
    announced_size(&parts.headers)?;
    let request = match info {
        None => {
            return Err(ApiError::method_not_allowed(
                "",
                path,
                parts.method.as_str(),
            ));
        }
        Some(RequestInfo::NonResource) => {
            authorization::path(identity, labels.verb, path)?;
            whole(body).await?;
            return endpoints::handle(state, caller, &parts, &query).await;
        }
        Some(RequestInfo::Resource(request)) => request,
    };
    authorization::resource(identity, &request)?;
    let body = whole(body).await?;
    let Some(kind) = kind else {
        return endpoints::review(state, identity, &parts, &request, &body);
    };
    let closing = parts
        .extensions
        .get::<Closing>()
        .map(|closing| closing.0.clone());
    let call = Call {
        state: Arc::clone(state),
        kind,
        request,
        query,
        headers: parts.headers,
        body,
        caller: caller.clone(),
        closing: closing.unwrap_or_default(),
        warnings: Vec::new(),
    };
    Ok(Box::pin(verbs::handle(call)).await)
}

fn caller(parts: &Parts, query: &Query) -> Caller {
    let agent = parts
        .headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .map(ToOwned::to_owned);
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    Caller {
        identity: parts.extensions.get::<Identity>().cloned(),
        remote: parts.extensions.get::<Remote>().map(|remote| remote.0),
        request_id: id.to_string(),
        agent,
        manager: query.get("fieldManager").map(ToOwned::to_owned),
        dry_run: query.get("dryRun").is_some(),
    }
}

fn announced_size(headers: &HeaderMap) -> Result<(), ApiError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > MAX_BODY as u64 => Err(ApiError::request_too_large(MAX_BODY)),
        Some(_) | None => Ok(()),
    }
}

/// The body as a whole, read no further than the limit.
async fn whole(body: Body) -> Result<Bytes, ApiError> {
    match timeout(BODY_PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::request_too_large(MAX_BODY))
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!(
            "the body could not be read: {error}"
        ))),
        Err(_) => Err(ApiError::timeout(
            "the body did not arrive within 60 seconds",
        )),
    }
}

fn method_word(parts: &Parts) -> &'static str {
    match parts.method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "other",
    }
}
