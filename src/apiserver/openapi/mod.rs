//! `OpenAPI` v3: a document for each group and version and the index of them, made once from the served kinds. `kubectl`
//! explains from them and learns which patches and which validation a kind understands.

mod components;
mod paths;
mod publish;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::discovery::ResourceDescription;

/// A kind as `OpenAPI` needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenApiKind<'a> {
    /// Its names and verbs.
    pub(crate) resource: &'a ResourceDescription,
    /// Its `openAPIV3Schema`.
    pub(crate) schema: &'a Value,
    /// Whether it takes strategic merge patches.
    pub(crate) strategic: bool,
}

/// All documents, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct OpenApi {
    index: Document,
    documents: BTreeMap<String, Document>,
}

/// One document: JSON and the tag of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// The JSON text.
    pub(crate) body: Bytes,
    /// The digest of the text in hexadecimal digits, as it stands in URLs; in an `ETag` header it is quoted.
    pub(crate) hash: String,
}

impl OpenApi {
    /// Makes all documents. `version` is that of the server, as `v1.36.0+clos`.
    pub(crate) fn build(kinds: &[OpenApiKind<'_>], version: &str) -> Self {
        let mut places: BTreeMap<String, Vec<OpenApiKind<'_>>> = BTreeMap::new();
        for kind in kinds {
            places.entry(place(kind.resource)).or_default().push(*kind);
        }
        let documents: BTreeMap<String, Document> = places
            .into_iter()
            .map(|(place, kinds)| {
                let document = Document::of(&group_version(&kinds, version));
                (place, document)
            })
            .collect();
        let paths: Map<String, Value> = documents
            .iter()
            .map(|(place, document)| {
                let url = format!("/openapi/v3/{place}?hash={}", document.hash);
                (place.clone(), json!({ "serverRelativeURL": url }))
            })
            .collect();
        Self {
            index: Document::of(&json!({ "paths": paths })),
            documents,
        }
    }

    /// The answer to `/openapi/v3`.
    pub(crate) fn index(&self) -> &Document {
        &self.index
    }

    /// The answer to `/openapi/v3/PLACE`, with a place as `api/v1` or `apis/clos.dev/v1alpha1`.
    pub(crate) fn document(&self, place: &str) -> Option<&Document> {
        self.documents.get(place)
    }
}

impl Document {
    fn of(content: &Value) -> Self {
        let body = content.to_string();
        let digest = Sha256::digest(body.as_bytes());
        let hash = digest.iter().fold(String::with_capacity(64), |hash, byte| {
            hash + &format!("{byte:02X}")
        });
        Self {
            body: Bytes::from(body),
            hash,
        }
    }
}

fn group_version(kinds: &[OpenApiKind<'_>], version: &str) -> Value {
    let mut all_paths = Map::new();
    for kind in kinds {
        all_paths.extend(paths::of(kind));
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": version },
        "paths": all_paths,
        "components": { "schemas": components::of(kinds) },
    })
}

/// Where a resource's group and version lives, without the leading slash.
fn place(resource: &ResourceDescription) -> String {
    if resource.group.is_empty() {
        format!("api/{}", resource.version)
    } else {
        format!("apis/{}/{}", resource.group, resource.version)
    }
}
