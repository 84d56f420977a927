//! Which kinds the server knows, and the order in which objects of them are applied.

use std::collections::BTreeMap;

use kube::Client;
use kube::core::{ApiResource, DynamicObject, Resource as _};
use kube::discovery::{Discovery, Scope, verbs};

/// One kind that the server knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// Its names.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// The URL path of all objects of this kind, or of those in one namespace.
    pub(crate) fn url_path(&self, namespace: Option<&str>) -> String {
        DynamicObject::url_path(&self.resource, namespace)
    }
}

/// Every kind whose objects can be created, by `apiVersion` and kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kinds(BTreeMap<(String, String), Kind>);

impl Kinds {
    /// Asks the server.
    pub async fn discover(client: Client) -> Result<Self, kube::Error> {
        let discovery = Discovery::new(client).run().await?;
        let mut kinds = BTreeMap::new();
        for group in discovery.groups() {
            for version in group.versions() {
                for (resource, capabilities) in group.versioned_resources(version) {
                    if capabilities.supports_operation(verbs::CREATE)
                        && capabilities.supports_operation(verbs::PATCH)
                    {
                        let key = (resource.api_version.clone(), resource.kind.clone());
                        kinds.insert(
                            key,
                            Kind {
                                resource,
                                namespaced: capabilities.scope == Scope::Namespaced,
                            },
                        );
                    }
                }
            }
        }
        Ok(Self(kinds))
    }

    /// The kind of an object.
    pub fn get(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0.get(&(api_version.to_owned(), kind.to_owned()))
    }

    /// A kind of a group, in whichever version is served.
    pub(crate) fn of_group(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.0
            .values()
            .find(|known| known.resource.group == group && known.resource.kind == kind)
    }

    /// What is wrong with naming an unknown kind, and what exists.
    pub(crate) fn unknown(&self, api_version: &str, kind: &str) -> (&'static str, String) {
        let versions: Vec<&str> = self
            .0
            .keys()
            .filter(|(_, known)| known == kind)
            .map(|(version, _)| version.as_str())
            .collect();
        if !versions.is_empty() {
            return (
                "apiVersion",
                format!(
                    "\"{api_version}\" has no kind {kind}; {kind} is in {}",
                    versions.join(", ")
                ),
            );
        }
        let same_version: Vec<&str> = self
            .0
            .keys()
            .filter(|(version, _)| version == api_version)
            .map(|(_, known)| known.as_str())
            .collect();
        if let Some(meant) = same_version
            .iter()
            .find(|known| known.eq_ignore_ascii_case(kind))
        {
            return (
                "kind",
                format!("unknown kind {kind}; did you mean {meant}?"),
            );
        }
        if same_version.is_empty() {
            let mut versions: Vec<&str> =
                self.0.keys().map(|(version, _)| version.as_str()).collect();
            versions.dedup();
            return (
                "apiVersion",
                format!(
                    "\"{api_version}\" is not served; there are {}",
                    versions.join(", ")
                ),
            );
        }
        (
            "kind",
            format!(
                "unknown kind {kind}; {api_version} has {}",
                same_version.join(", ")
            ),
        )
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str, &str, bool); N]> for Kinds {
    /// From group, kind, plural and whether it is namespaced.
    fn from(kinds: [(&str, &str, &str, bool); N]) -> Self {
        let kinds = kinds.into_iter().map(|(group, kind, plural, namespaced)| {
            let version = if group.is_empty() { "v1" } else { "v1alpha1" };
            let api_version = if group.is_empty() {
                version.to_owned()
            } else {
                format!("{group}/{version}")
            };
            let resource = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: api_version.clone(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
            };
            (
                (api_version, kind.to_owned()),
                Kind {
                    resource,
                    namespaced,
                },
            )
        });
        Self(kinds.collect())
    }
}

/// The place of a kind in the order of applying; objects of lower ranks are applied first and pruned last.
pub(crate) fn rank(group: &str, kind: &str) -> u8 {
    match (group, kind) {
        ("", "Namespace") => 0,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => 1,
        ("", "ConfigMap" | "Secret") => 2,
        (clos_resources::API_GROUP, "Group") => 3,
        (clos_resources::API_GROUP, "Service") => 4,
        _ => 5,
    }
}

/// Whether objects of this kind take others with them when they go.
pub(crate) fn holds_others(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}
