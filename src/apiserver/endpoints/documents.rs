//! Discovery and schemas: documents made once and answered in the form a client asks for.
//! What stands in them is made in `discovery` and `openapi`.

use std::sync::OnceLock;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HOST, HeaderValue, IF_NONE_MATCH, VARY,
};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::VERSION;
use crate::discovery::{
    AggregatedVersion, ResourceDescription, SubresourceDescription, aggregated, api_group,
    api_group_list, api_resource_list, api_versions,
};
use crate::openapi::{Document, OpenApi, OpenApiKind};
use crate::registry::{Kind, Registry};
use crate::request::query::Query;

/// The documents of one server.
pub(crate) struct Documents {
    resources: Vec<ResourceDescription>,
    /// Made when somebody asks: half a megabyte.
    openapi: OnceLock<OpenApi>,
}

impl Documents {
    /// The documents of what is served.
    pub(crate) fn of(registry: &Registry) -> Self {
        let served = registry.kinds().iter().map(|kind| describe(kind));
        Self {
            resources: served.chain(reviews()).collect(),
            openapi: OnceLock::new(),
        }
    }

    fn openapi(&self, registry: &Registry) -> &OpenApi {
        self.openapi.get_or_init(|| {
            // What is served comes before the reviews, in the same order.
            let described = registry.kinds().iter().zip(&self.resources);
            let kinds: Vec<OpenApiKind<'_>> = described
                .map(|(kind, resource)| OpenApiKind {
                    resource,
                    schema: &kind.document,
                    strategic: kind.strategy.strategic_merge,
                })
                .collect();
            OpenApi::build(&kinds, VERSION)
        })
    }

    /// The document at a path; `None` where there is none.
    pub(crate) fn answer(
        &self,
        registry: &Registry,
        parts: &Parts,
        query: &Query,
    ) -> Option<Response> {
        let path: Vec<&str> = parts
            .uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        let headers = &parts.headers;
        match path.as_slice() {
            ["api"] => Some(match wanted(headers) {
                Some(version) => self.aggregated(true, version),
                None => json(&api_versions(&self.resources, address(headers))),
            }),
            ["apis"] => Some(match wanted(headers) {
                Some(version) => self.aggregated(false, version),
                None => json(&api_group_list(&self.resources)),
            }),
            ["api", version] => api_resource_list(&self.resources, "", version)
                .as_ref()
                .map(json),
            ["apis", group] => api_group(&self.resources, group).as_ref().map(json),
            ["apis", group, version] => api_resource_list(&self.resources, group, version)
                .as_ref()
                .map(json),
            ["openapi", "v3"] => Some(schema(headers, self.openapi(registry).index(), false)),
            ["openapi", "v3", place @ ..] => {
                let document = self.openapi(registry).document(&place.join("/"))?;
                let pinned = query.get("hash") == Some(document.hash.as_str());
                Some(schema(headers, document, pinned))
            }
            _ => None,
        }
    }

    fn aggregated(&self, core: bool, version: AggregatedVersion) -> Response {
        let mut response = json(&aggregated(&self.resources, core, version));
        let media_type =
            HeaderValue::from_str(&version.content_type()).expect("the media type is plain text");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from_static("Accept"));
        response
    }
}

/// The aggregated form a client asks for before it would take the older one.
fn wanted(headers: &HeaderMap) -> Option<AggregatedVersion> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    for alternative in accept.split(',') {
        let mut parts = alternative.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let has = |parameter: &str| parameters.contains(&parameter);
        match media_type {
            "application/json"
                if has("as=APIGroupDiscoveryList") && has("g=apidiscovery.k8s.io") =>
            {
                if has("v=v2") {
                    return Some(AggregatedVersion::V2);
                }
                if has("v=v2beta1") {
                    return Some(AggregatedVersion::V2Beta1);
                }
            }
            "application/json" | "*/*" => return None,
            _ => {}
        }
    }
    None
}

/// Where the client reached this server.
fn address(headers: &HeaderMap) -> &str {
    headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost")
}

/// A schema document; one that was asked for by its hash never changes.
fn schema(headers: &HeaderMap, document: &Document, pinned: bool) -> Response {
    let tag = format!("\"{}\"", document.hash);
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    let unchanged = known.is_some_and(|tags| {
        tags.split(',')
            .any(|known| known.trim() == tag || known.trim() == "*")
    });
    let mut response = if unchanged {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        json_text(document.body.clone())
    };
    let caching = if pinned {
        "public, immutable"
    } else {
        "no-cache, private"
    };
    let headers = response.headers_mut();
    headers.insert(
        ETAG,
        HeaderValue::from_str(&tag).expect("a quoted digest is plain text"),
    );
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    if pinned {
        // Its content never changes, so any time far ahead will do.
        headers.insert(
            EXPIRES,
            HeaderValue::from_static("Fri, 31 Dec 9999 23:59:59 GMT"),
        );
    }
    response
}

fn describe(kind: &Kind) -> ResourceDescription {
    let part = |name: &str, (group, version, kind): (&str, &str, &str), verbs: &[&str]| {
        SubresourceDescription {
            name: name.to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        }
    };
    let own = (
        kind.group.as_str(),
        kind.version.as_str(),
        kind.kind.as_str(),
    );
    let mut subresources = Vec::new();
    if kind.status {
        subresources.push(part("status", own, &["get", "patch", "update"]));
    }
    if kind.scale.is_some() {
        subresources.push(part(
            "scale",
            ("autoscaling", "v1", "Scale"),
            &["get", "patch", "update"],
        ));
    }
    if kind.strategy.finalize {
        subresources.push(part("finalize", own, &["update"]));
    }
    ResourceDescription {
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        plural: kind.plural.clone(),
        singular: kind.singular.clone(),
        short_names: kind.short_names.clone(),
        categories: kind.categories.clone(),
        namespaced: kind.namespaced,
        verbs: kind
            .verbs
            .iter()
            .map(|verb| verb.as_str().to_owned())
            .collect(),
        subresources,
    }
}

/// The reviews, which can only be asked for.
fn reviews() -> impl Iterator<Item = ResourceDescription> {
    [
        ("authentication.k8s.io", "SelfSubjectReview"),
        ("authorization.k8s.io", "SelfSubjectAccessReview"),
        ("authorization.k8s.io", "SelfSubjectRulesReview"),
    ]
    .into_iter()
    .map(|(group, kind)| ResourceDescription {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
        singular: kind.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: false,
        verbs: vec!["create".to_owned()],
        subresources: Vec::new(),
    })
}

fn json(value: &Value) -> Response {
    json_text(Bytes::from(value.to_string()))
}

fn json_text(text: Bytes) -> Response {
    let mut response = Response::new(Body::from(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
