//! The documents clients explain and validate with.

use std::collections::BTreeSet;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use super::*;
use crate::discovery::ResourceDescription;
use crate::discovery::tests::resources;

fn schema() -> Value {
    json!({
        "description": "A long-running container.",
        "type": "object",
        "properties": { "spec": {
            "description": "What it shall be.",
            "type": "object",
            "required": ["image"],
            "properties": {
                "image": { "description": "What to run.", "type": "string" },
                "replicas": { "description": "How many.", "type": "integer", "format": "int32", "default": 1 },
                "update": { "type": "object", "default": {}, "properties": { "strategy": { "type": "string", "default": "StopFirst" } } },
                "hostPort": { "x-kubernetes-int-or-string": true },
            },
        }},
    })
}

fn build(resources: &[ResourceDescription], schema: &Value) -> OpenApi {
    let kinds: Vec<OpenApiKind<'_>> = resources
        .iter()
        .map(|resource| OpenApiKind {
            resource,
            schema,
            strategic: resource.group.is_empty(),
        })
        .collect();
    OpenApi::build(&kinds, "v1.36.0+clos")
}

fn read(openapi: &OpenApi, place: &str) -> Value {
    serde_json::from_slice(&openapi.document(place).unwrap().body).unwrap()
}

#[test]
fn the_index_leads_to_every_document_by_its_hash() {
    let openapi = build(&resources(), &schema());
    let index: Value = serde_json::from_slice(&openapi.index().body).unwrap();
    let paths = index["paths"].as_object().unwrap();
    let places: Vec<&String> = paths.keys().collect();
    assert_eq!(
        places,
        [
            "api/v1",
            "apis/clos.dev/v1alpha1",
            "apis/old.dev/v1",
            "apis/old.dev/v2"
        ]
    );
    for (place, entry) in paths {
        let document = openapi.document(place).unwrap();
        assert_eq!(
            entry["serverRelativeURL"],
            format!("/openapi/v3/{place}?hash={}", document.hash)
        );
        assert_eq!(document.hash.len(), 64);
    }
    assert_eq!(openapi.document("apis/no.dev/v1"), None);
}

#[test]
fn a_changed_schema_changes_the_hash_of_its_document_and_of_the_index_alone() {
    let all = resources();
    let before = build(&all, &schema());
    assert_eq!(
        build(&all, &schema()).index(),
        before.index(),
        "the same kinds give the same documents"
    );
    let mut changed = schema();
    changed["description"] = json!("Another sentence.");
    let kinds: Vec<OpenApiKind<'_>> = all
        .iter()
        .map(|resource| {
            let clos = resource.group == "clos.dev";
            OpenApiKind {
                resource,
                schema: if clos { &changed } else { &SCHEMA },
                strategic: resource.group.is_empty(),
            }
        })
        .collect();
    let after = OpenApi::build(&kinds, "v1.36.0+clos");
    assert_eq!(after.document("api/v1"), before.document("api/v1"));
    assert_ne!(
        after.document("apis/clos.dev/v1alpha1"),
        before.document("apis/clos.dev/v1alpha1")
    );
    assert_ne!(after.index(), before.index());
}

static SCHEMA: std::sync::LazyLock<Value> = std::sync::LazyLock::new(schema);

#[test]
fn a_kind_is_described_with_its_defaults_and_its_name() {
    let document = read(&build(&resources(), &schema()), "apis/clos.dev/v1alpha1");
    let schemas = &document["components"]["schemas"];
    assert_json_snapshot!(json!([
        schemas["dev.clos.v1alpha1.Service"],
        schemas["dev.clos.v1alpha1.ServiceList"]
    ]));
}

#[test]
fn core_kinds_have_the_names_clients_know() {
    let document = read(&build(&resources(), &schema()), "api/v1");
    let names = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys();
    let core: Vec<&String> = names
        .filter(|name| name.starts_with("io.k8s.api.core"))
        .collect();
    assert_eq!(
        core,
        [
            "io.k8s.api.core.v1.Namespace",
            "io.k8s.api.core.v1.NamespaceList",
            "io.k8s.api.core.v1.Secret",
            "io.k8s.api.core.v1.SecretList",
        ]
    );
}

#[test]
fn every_operation_is_listed_with_its_action() {
    let openapi = build(&resources(), &schema());
    let mut lines = Vec::new();
    for place in ["api/v1", "apis/clos.dev/v1alpha1"] {
        let document = read(&openapi, place);
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations
                .as_object()
                .unwrap()
                .iter()
                .filter(|(method, _)| *method != "parameters")
            {
                let (action, id) = (
                    operation["x-kubernetes-action"].as_str().unwrap(),
                    operation["operationId"].as_str().unwrap(),
                );
                lines.push(format!("{method} {path}\n  {action} {id}"));
            }
        }
    }
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_patch_knows_field_validation_and_says_which_patches_it_takes() {
    let openapi = build(&resources(), &schema());
    let mut patches = 0;
    for place in ["apis/clos.dev/v1alpha1", "api/v1", "apis/old.dev/v1"] {
        let document = read(&openapi, place);
        for (path, operations) in document["paths"].as_object().unwrap() {
            let Some(patch) = operations.get("patch") else {
                continue;
            };
            patches += 1;
            let names: Vec<&Value> = patch["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| &it["name"])
                .collect();
            assert_eq!(
                names,
                ["dryRun", "fieldManager", "fieldValidation", "force"],
                "{path}"
            );
            let types: Vec<&String> = patch["requestBody"]["content"]
                .as_object()
                .unwrap()
                .keys()
                .collect();
            assert_eq!(
                types,
                [
                    "application/apply-patch+yaml",
                    "application/json-patch+json",
                    "application/merge-patch+json"
                ],
                "{path}"
            );
            assert_eq!(
                patch["x-kubernetes-group-version-kind"]["kind"], "Service",
                "the parent's kind, also on {path}"
            );
        }
    }
    assert_eq!(patches, 3, "the object, its status and its scale");
}

#[test]
fn core_kinds_take_strategic_merge_patches() {
    let mut secret = resources().pop().unwrap();
    secret.verbs = vec!["patch".to_owned()];
    let document = read(&build(&[secret], &schema()), "api/v1");
    let content = &document["paths"]["/api/v1/namespaces/{namespace}/secrets/{name}"]["patch"]["requestBody"]
        ["content"];
    assert!(
        content
            .get("application/strategic-merge-patch+json")
            .is_some()
    );
}

#[test]
fn no_reference_leads_nowhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(
                    fields
                        .get("$ref")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let openapi = build(&resources(), &schema());
    for place in ["api/v1", "apis/clos.dev/v1alpha1", "apis/old.dev/v2"] {
        let document = read(&openapi, place);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 8, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{place}: {reference}");
        }
    }
}

#[test]
fn explain_finds_the_description_of_every_field_of_metadata() {
    let document = read(&build(&resources(), &schema()), "api/v1");
    let meta =
        &document["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
    for field in [
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "uid",
        "resourceVersion",
    ] {
        assert!(
            meta["properties"][field]["description"]
                .as_str()
                .is_some_and(|text| text.len() > 20),
            "{field}"
        );
    }
}
