//! What this server serves, told to clients: discovery documents of the aggregated and of the older form, made from
//! plain descriptions of resources. Caching and content negotiation are done elsewhere.

mod aggregated;
mod legacy;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use aggregated::{AggregatedVersion, aggregated};
pub(crate) use legacy::{api_group, api_group_list, api_resource_list, api_versions};

/// A served resource as discovery tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceDescription {
    /// The API group; empty for the core group.
    pub(crate) group: String,
    /// The version, as `v1alpha1`.
    pub(crate) version: String,
    /// The kind of its objects.
    pub(crate) kind: String,
    /// The name in paths, as `services`.
    pub(crate) plural: String,
    /// The name for one, as `service`.
    pub(crate) singular: String,
    /// What may be typed instead, as `csvc`.
    pub(crate) short_names: Vec<String>,
    /// The words that stand for several kinds at once, as `all`.
    pub(crate) categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    /// What can be done with it, in any order.
    pub(crate) verbs: Vec<String>,
    /// What stands below each object, as `status`.
    pub(crate) subresources: Vec<SubresourceDescription>,
}

/// A part of an object that is served by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubresourceDescription {
    /// The last part of the path, as `scale`.
    pub(crate) name: String,
    /// The group of the kind it answers with.
    pub(crate) group: String,
    /// The version of that kind.
    pub(crate) version: String,
    /// The kind it answers with, as `Scale`.
    pub(crate) kind: String,
    /// What can be done with it, in any order.
    pub(crate) verbs: Vec<String>,
}

/// Every group with its versions, in the order the resources came in: the first version of a group is preferred.
fn group_versions(resources: &[ResourceDescription]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for resource in resources {
        let known = groups
            .iter_mut()
            .find(|(group, _)| *group == resource.group);
        match known {
            Some((_, versions)) if versions.contains(&resource.version.as_str()) => {}
            Some((_, versions)) => versions.push(&resource.version),
            None => groups.push((&resource.group, vec![&resource.version])),
        }
    }
    groups
}

/// The verbs in the order in which every server lists them.
fn sorted(verbs: &[String]) -> Vec<&str> {
    let mut verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
    verbs.sort_unstable();
    verbs
}
