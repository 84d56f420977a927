//! The hooks of the built-in kinds, as functions.

use serde_json::json;

use super::*;

fn find<'k>(kinds: &'k [Kind], group: &str, plural: &str) -> &'k Kind {
    kinds
        .iter()
        .find(|kind| kind.group == group && kind.plural == plural)
        .unwrap()
}

#[test]
fn every_built_in_definition_compiles() {
    let names: Vec<String> = kinds()
        .unwrap()
        .iter()
        .map(|kind| format!("{} {}", kind.api_version(), kind.kind))
        .collect();
    assert_eq!(
        names,
        [
            "v1 Namespace",
            "v1 ConfigMap",
            "v1 Secret",
            "v1 Event",
            "events.k8s.io/v1 Event",
            "coordination.k8s.io/v1 Lease",
            "apiextensions.k8s.io/v1 CustomResourceDefinition",
        ]
    );
}

#[test]
fn string_data_is_merged_into_data_and_not_kept() {
    let kinds = kinds().unwrap();
    let mut secret = json!({ "data": { "a": "eA==", "b": "eA==" }, "stringData": { "b": "y" } });
    (find(&kinds, "", "secrets").strategy.prepare_for_create)(&mut secret);
    assert_eq!(
        secret,
        json!({ "data": { "a": "eA==", "b": "eQ==" }, "type": "Opaque" })
    );
}

#[test]
fn a_malformed_secret_value_is_refused_without_repeating_it() {
    let kinds = kinds().unwrap();
    let mut causes = Vec::new();
    let secret = json!({ "data": { "key": "hunter2!" }, "type": "Opaque" });
    (find(&kinds, "", "secrets").strategy.validate)(&secret, None, &mut causes);
    let text: Vec<String> = causes.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        ["data[key]: Invalid value: must be base64; give text in stringData instead"]
    );
}

#[test]
fn an_event_survives_the_way_through_both_versions() {
    let kinds = kinds().unwrap();
    let conversion = find(&kinds, "events.k8s.io", "events")
        .strategy
        .conversion
        .unwrap();
    let written = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "regarding": { "name": "web" },
        "reportingController": "c", "reason": "Repaired", "deprecatedCount": 2,
    });
    let mut event = written.clone();
    (conversion.to_stored)(&mut event);
    assert_eq!(
        event,
        json!({
            "apiVersion": "v1", "kind": "Event", "message": "n", "involvedObject": { "name": "web" },
            "reportingComponent": "c", "reason": "Repaired", "count": 2,
        })
    );
    (conversion.from_stored)(&mut event);
    assert_eq!(event, written);
}

#[test]
fn immutable_contents_and_the_type_of_a_secret_stay() {
    let kinds = kinds().unwrap();
    let old = json!({ "data": { "a": "eA==" }, "type": "Opaque", "immutable": true });
    let new = json!({ "data": { "a": "eQ==" }, "type": "other" });
    let mut causes = Vec::new();
    (find(&kinds, "", "secrets").strategy.validate)(&new, Some(&old), &mut causes);
    let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(fields, ["type", "immutable", "data"]);
}
