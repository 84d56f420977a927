//! Discovery of the older form: a document for every group and every version.

use serde_json::{Value, json};

use super::{ResourceDescription, group_versions, sorted};

/// `APIVersions`, below `/api`: the versions of the core group. `address` is where clients reach this server, as
/// `127.0.0.1:8081`.
pub(crate) fn api_versions(resources: &[ResourceDescription], address: &str) -> Value {
    let groups = group_versions(resources);
    let core = groups.into_iter().find(|(group, _)| group.is_empty());
    let versions = core.map(|(_, versions)| versions).unwrap_or_default();
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

/// `APIGroupList`, below `/apis`: every group but the core one.
pub(crate) fn api_group_list(resources: &[ResourceDescription]) -> Value {
    let groups = group_versions(resources)
        .into_iter()
        .filter(|(group, _)| !group.is_empty());
    let groups: Vec<Value> = groups
        .map(|(group, versions)| describe(group, &versions))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `APIGroup`, below `/apis/GROUP`; `None` when there is no such group.
pub(crate) fn api_group(resources: &[ResourceDescription], group: &str) -> Option<Value> {
    let groups = group_versions(resources);
    let (group, versions) = groups
        .into_iter()
        .find(|(name, _)| *name == group && !name.is_empty())?;
    let mut document = describe(group, &versions);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    Some(document)
}

/// `APIResourceList`, below `/api/VERSION` (with an empty group) and `/apis/GROUP/VERSION`; `None` when nothing is served
/// there.
pub(crate) fn api_resource_list(
    resources: &[ResourceDescription],
    group: &str,
    version: &str,
) -> Option<Value> {
    let here = resources
        .iter()
        .filter(|it| it.group == group && it.version == version);
    let entries: Vec<Value> = here.flat_map(entries).collect();
    if entries.is_empty() {
        return None;
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": entries,
    }))
}

/// A resource and what stands below it.
fn entries(resource: &ResourceDescription) -> Vec<Value> {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": sorted(&resource.verbs),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let parts = resource.subresources.iter().map(|part| {
        let mut entry = json!({
            "name": format!("{}/{}", resource.plural, part.name),
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": part.kind,
            "verbs": sorted(&part.verbs),
        });
        // The kind is told in full where it lives elsewhere.
        if part.group != resource.group || part.version != resource.version {
            entry["group"] = json!(part.group);
            entry["version"] = json!(part.version);
        }
        entry
    });
    std::iter::once(entry).chain(parts).collect()
}

fn describe(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({ "groupVersion": group_version(group, version), "version": version }))
        .collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions.first() })
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}
