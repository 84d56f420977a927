//! What is answered beside resources: health, version, metrics, the audit journal, backups, discovery, schemas and reviews. Who may ask was decided
//! by the filters.

mod audit;
mod backup;
mod documents;
mod review;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::State;
use crate::caller::Caller;
use crate::request::query::Query;
use crate::status::ApiError;

pub(crate) use documents::Documents;
pub(crate) use review::review;

/// What the server says its version is. Build metadata and not a pre-release, so that charts accept it.
const VERSION: &str = "v1.36.0+clos";

/// Answers a request for a path that is no resource.
pub(crate) async fn handle(
    state: &State,
    caller: &Caller,
    parts: &Parts,
    query: &Query,
) -> Result<Response, ApiError> {
    let path = parts.uri.path();
    let reads = parts.method == Method::GET || parts.method == Method::HEAD;
    if !reads {
        return Err(ApiError::method_not_allowed(
            "",
            path,
            parts.method.as_str(),
        ));
    }
    match path {
        "/health" => Ok(health(state)),
        "/livez" => Ok(text(StatusCode::OK, "ok")),
        "/healthz" | "/readyz" => Ok(ready(state, query)),
        "/version" | "/version/" => Ok(json_value(&version())),
        "/audit" => audit::read(state, query).await,
        "/backup" => backup::read(state, caller, &parts.method).await,
        "/metrics" => {
            let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Ok(with_type(
                StatusCode::OK,
                state.metrics.encode(),
                media_type,
            ))
        }
        _ => Ok(state
            .documents
            .answer(&state.registry, parts, query)
            .unwrap_or_else(not_found)),
    }
}

/// What leads nowhere, in the words of Go's servers, which clients know.
pub(crate) fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn ready(state: &State, query: &Query) -> Response {
    match (state.readiness)() {
        Ok(()) if query.flag("verbose").is_some() => {
            text(StatusCode::OK, "[+]ready ok\ncheck passed\n")
        }
        Ok(()) => text(StatusCode::OK, "ok"),
        Err(reason) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("not ready: {reason}\n"),
        ),
    }
}

fn health(state: &State) -> Response {
    let (code, body) = match (state.readiness)() {
        Ok(()) => (StatusCode::OK, json!({ "status": "ok" })),
        Err(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "unavailable", "reason": reason }),
        ),
    };
    with_type(code, body.to_string(), "application/json")
}

fn json_value(value: &Value) -> Response {
    with_type(StatusCode::OK, value.to_string(), "application/json")
}

fn text(code: StatusCode, text: impl Into<Body>) -> Response {
    with_type(code, text, "text/plain; charset=utf-8")
}

fn with_type(code: StatusCode, body: impl Into<Body>, media_type: &'static str) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
