//! Answers in the form that was negotiated: objects and lists as JSON, YAML, table or bare metadata.
//! Not here: errors, which are answers by themselves (`status`), and streams (`watch`).

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Call;
use crate::request::media::{Format, Output, Shape};
use crate::status::ApiError;
use crate::storage::{Changed, ListPage, Object, write_with_revision};
use crate::table::{IncludeObject, partial, partial_list, table};

impl From<Changed> for Object {
    fn from(changed: Changed) -> Self {
        match changed {
            Changed::Kept(object) => object,
            Changed::Removed(last) => Self::Value(last),
        }
    }
}

/// One object.
pub(super) fn object(
    call: &Call,
    output: Output,
    code: StatusCode,
    object: Object,
) -> Result<Response, ApiError> {
    match (output.shape, output.format) {
        (Shape::Object | Shape::MetadataList, Format::Json) => {
            Ok(json_text(code, object.into_json(&call.kind)?))
        }
        (Shape::Object | Shape::MetadataList, Format::Yaml) => {
            plain(output.format, code, &object.into_value(&call.kind)?)
        }
        (Shape::Metadata, format) => plain(format, code, &partial(&object.into_value(&call.kind)?)),
        (Shape::Table { version }, format) => {
            let value = object.into_value(&call.kind)?;
            let mut metadata = Map::new();
            metadata.insert(
                "resourceVersion".to_owned(),
                value["metadata"]["resourceVersion"].clone(),
            );
            plain(
                format,
                code,
                &as_table(call, version, [&value], metadata, true)?,
            )
        }
    }
}

/// A page of a list.
pub(super) fn list(call: &Call, output: Output, page: ListPage) -> Result<Response, ApiError> {
    let kind = &call.kind;
    let mut metadata = Map::new();
    if let Some(token) = &page.token {
        metadata.insert("continue".to_owned(), json!(token));
    }
    if let Some(remaining) = page.remaining {
        metadata.insert("remainingItemCount".to_owned(), json!(remaining));
    }
    metadata.insert(
        "resourceVersion".to_owned(),
        json!(page.revision.to_string()),
    );
    if output
        == (Output {
            format: Format::Json,
            shape: Shape::Object,
        })
        && kind.strategy.conversion.is_none()
    {
        let head = json!({ "apiVersion": kind.api_version(), "kind": kind.list_kind, "metadata": metadata }).to_string();
        let size: usize = page
            .entries
            .iter()
            .map(|entry| entry.value.len() + 48)
            .sum();
        let mut text = Vec::with_capacity(head.len() + size + 16);
        text.extend_from_slice(&head.as_bytes()[..head.len() - 1]);
        text.extend_from_slice(b",\"items\":[");
        for (index, entry) in page.entries.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            write_with_revision(&entry.value, entry.revision, &mut text);
        }
        text.extend_from_slice(b"]}");
        return Ok(json_text(StatusCode::OK, text));
    }
    let items: Result<Vec<Value>, ApiError> = page
        .entries
        .into_iter()
        .map(|entry| Object::Stored(entry).into_value(kind))
        .collect();
    shaped(call, output, &items?, metadata)
}

/// A list of objects that were just read or removed.
pub(super) fn items(
    call: &Call,
    output: Output,
    items: &[Value],
    revision: u64,
) -> Result<Response, ApiError> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(revision.to_string()));
    shaped(call, output, items, metadata)
}

/// Any value as JSON or YAML.
pub(crate) fn plain(
    format: Format,
    code: StatusCode,
    value: &impl Serialize,
) -> Result<Response, ApiError> {
    match format {
        Format::Json => Ok(json_text(
            code,
            serde_json::to_vec(value).map_err(ApiError::internal)?,
        )),
        Format::Yaml => {
            let text = serde_saphyr::to_string(value).map_err(ApiError::internal)?;
            Ok(with_type(code, text.into_bytes(), "application/yaml"))
        }
    }
}

/// Objects as a table of the asked version; `definitions` is false after the first event of a watch.
pub(super) fn as_table<'o>(
    call: &Call,
    version: &str,
    objects: impl IntoIterator<Item = &'o Value>,
    metadata: Map<String, Value>,
    definitions: bool,
) -> Result<Value, ApiError> {
    let include = IncludeObject::parse(call.query.get("includeObject"))?;
    let now = (call.state.clock)();
    let mut rendered = table(
        &call.kind.columns,
        objects,
        metadata,
        definitions,
        include,
        now,
    );
    rendered["apiVersion"] = json!(format!("meta.k8s.io/{version}"));
    Ok(rendered)
}

fn shaped(
    call: &Call,
    output: Output,
    items: &[Value],
    metadata: Map<String, Value>,
) -> Result<Response, ApiError> {
    let kind = &call.kind;
    let value = match output.shape {
        Shape::Object | Shape::Metadata => json!({
            "apiVersion": kind.api_version(), "kind": kind.list_kind, "metadata": metadata, "items": items,
        }),
        Shape::MetadataList => partial_list(items, metadata),
        Shape::Table { version } => as_table(call, version, items, metadata, true)?,
    };
    plain(output.format, StatusCode::OK, &value)
}

fn json_text(code: StatusCode, text: Vec<u8>) -> Response {
    with_type(code, text, "application/json")
}

fn with_type(code: StatusCode, text: Vec<u8>, media_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
