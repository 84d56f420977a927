//! The discovery documents, whole.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ResourceDescription {
    ResourceDescription {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        verbs: words(&["list", "get"]),
        subresources: Vec::new(),
    }
}

/// A core kind, a kind with everything, and a group with two versions.
pub(crate) fn resources() -> Vec<ResourceDescription> {
    let part = |name: &str, group: &str, version: &str, kind: &str| SubresourceDescription {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: words(&["update", "patch", "get"]),
    };
    let service = ResourceDescription {
        short_names: words(&["csvc"]),
        categories: words(&["all", "clos"]),
        verbs: words(&[
            "watch",
            "update",
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
        ]),
        subresources: vec![
            part("status", "clos.dev", "v1alpha1", "Service"),
            part("scale", "autoscaling", "v1", "Scale"),
        ],
        ..resource("clos.dev", "v1alpha1", "Service", "services")
    };
    let namespace = ResourceDescription {
        namespaced: false,
        ..resource("", "v1", "Namespace", "namespaces")
    };
    vec![
        namespace,
        service,
        resource("old.dev", "v2", "Thing", "things"),
        resource("old.dev", "v1", "Thing", "things"),
        resource("", "v1", "Secret", "secrets"),
    ]
}

#[test]
fn aggregated_discovery_tells_everything_in_two_documents() {
    assert_json_snapshot!(json!({
        "/api": aggregated(&resources(), true, AggregatedVersion::V2),
        "/apis": aggregated(&resources(), false, AggregatedVersion::V2),
    }));
}

#[test]
fn the_older_form_of_aggregated_discovery_differs_in_name_only() {
    let mut beta = aggregated(&resources(), false, AggregatedVersion::V2Beta1);
    assert_eq!(beta["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    beta["apiVersion"] = json!("apidiscovery.k8s.io/v2");
    assert_eq!(beta, aggregated(&resources(), false, AggregatedVersion::V2));
    assert_eq!(
        AggregatedVersion::V2Beta1.content_type(),
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    );
}

#[test]
fn legacy_discovery_tells_the_same_piece_by_piece() {
    let all = resources();
    assert_json_snapshot!(json!({
        "/api": api_versions(&all, "127.0.0.1:8081"),
        "/apis": api_group_list(&all),
        "/apis/old.dev": api_group(&all, "old.dev"),
        "/api/v1": api_resource_list(&all, "", "v1"),
        "/apis/clos.dev/v1alpha1": api_resource_list(&all, "clos.dev", "v1alpha1"),
    }));
}

#[test]
fn what_is_not_served_has_no_document() {
    let all = resources();
    assert_eq!(
        api_group(&all, ""),
        None,
        "the core group has no group document"
    );
    assert_eq!(api_group(&all, "no.dev"), None);
    assert_eq!(api_resource_list(&all, "clos.dev", "v9"), None);
    assert_eq!(api_versions(&[], "x")["versions"], json!([]));
    assert_eq!(
        aggregated(&[], false, AggregatedVersion::V2)["items"],
        json!([])
    );
}

#[test]
fn both_forms_name_the_same_resources() {
    let all = resources();
    let mut from_aggregated = Vec::new();
    for core in [true, false] {
        let document = aggregated(&all, core, AggregatedVersion::V2);
        for group in document["items"].as_array().unwrap() {
            let name = group["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            for version in group["versions"].as_array().unwrap() {
                for resource in version["resources"].as_array().unwrap() {
                    let plural = resource["resource"].as_str().unwrap();
                    let parts = resource["subresources"].as_array().into_iter().flatten();
                    let parts = parts
                        .map(|part| format!("{plural}/{}", part["subresource"].as_str().unwrap()));
                    let names = std::iter::once(plural.to_owned()).chain(parts);
                    from_aggregated.extend(
                        names.map(|entry| (name.clone(), version["version"].clone(), entry)),
                    );
                }
            }
        }
    }
    for (group, version, _) in from_aggregated.clone() {
        let list = api_resource_list(&all, &group, version.as_str().unwrap()).unwrap();
        let names = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        let same = |it: &&(String, Value, String)| it.0 == group && it.1 == version;
        let mut expected: Vec<String> = from_aggregated
            .iter()
            .filter(same)
            .map(|it| it.2.clone())
            .collect();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
