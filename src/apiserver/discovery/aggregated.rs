//! Aggregated discovery: one document below `/api` and one below `/apis`, with everything in them.

use serde_json::{Map, Value, json};

use super::{ResourceDescription, group_versions, sorted};

/// The form of an aggregated document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregatedVersion {
    /// `apidiscovery.k8s.io/v2`
    V2,
    /// `apidiscovery.k8s.io/v2beta1`, the same under an older name.
    V2Beta1,
}

impl AggregatedVersion {
    /// The version as it stands in media types.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }

    /// The `Content-Type` of such a document.
    pub(crate) fn content_type(self) -> String {
        format!(
            "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList",
            self.name()
        )
    }
}

/// An `APIGroupDiscoveryList`: of the core group alone for `/api` (`core` true), of all others for `/apis`.
pub(crate) fn aggregated(
    resources: &[ResourceDescription],
    core: bool,
    version: AggregatedVersion,
) -> Value {
    let groups = group_versions(resources)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core);
    let items: Vec<Value> = groups
        .map(|(group, versions)| {
            let mut metadata = Map::new();
            if !group.is_empty() {
                metadata.insert("name".to_owned(), json!(group));
            }
            metadata.insert("creationTimestamp".to_owned(), Value::Null);
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|version| {
                    let here = resources
                        .iter()
                        .filter(|it| it.group == group && it.version == version);
                    let described: Vec<Value> = here.map(resource).collect();
                    json!({ "version": version, "freshness": "Current", "resources": described })
                })
                .collect();
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", version.name()),
        "metadata": {},
        "items": items,
    })
}

fn resource(resource: &ResourceDescription) -> Value {
    let mut document = json!({
        "resource": resource.plural,
        "responseKind": response_kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": sorted(&resource.verbs),
    });
    if !resource.short_names.is_empty() {
        document["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        document["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        let parts = resource.subresources.iter().map(|part| {
            json!({
                "subresource": part.name,
                "responseKind": response_kind(&part.group, &part.version, &part.kind),
                "verbs": sorted(&part.verbs),
            })
        });
        document["subresources"] = parts.collect();
    }
    document
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}
