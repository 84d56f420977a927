//! The rules of `metadata`, case by case.

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::names::{dns_label, dns_subdomain};
use super::*;

fn lines(causes: &[crate::status::Cause]) -> String {
    causes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn new_object(metadata: &Value) -> String {
    lines(&check_create(
        &json!({ "metadata": metadata }),
        NameRule::Subdomain,
    ))
}

fn update(new: &Value, old: &Value) -> String {
    lines(&check_update(
        &json!({ "metadata": new }),
        &json!({ "metadata": old }),
    ))
}

#[test]
fn names_are_dns_names() {
    for good in ["a", "web-1", "a1", &"a".repeat(63)] {
        assert_eq!(
            (dns_label(good), dns_subdomain(good)),
            (Vec::new(), Vec::new()),
            "{good}"
        );
    }
    assert_eq!(dns_subdomain("web.clos.dev"), Vec::<String>::new());
    assert_eq!(dns_label("web.clos.dev"), ["must not contain dots"]);
    assert_eq!(
        dns_subdomain(&"a".repeat(254)),
        ["must be no more than 253 bytes"]
    );
    for bad in ["", "-a", "a-", "A", "a_b", "a..b", "a\n", "ä"] {
        assert_eq!(
            (dns_label(bad).len(), dns_subdomain(bad).len()),
            (1, 1),
            "{bad}"
        );
    }
    assert_snapshot!(dns_label("Web")[0], @"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')");
}

#[test]
fn label_keys_may_have_a_prefix_and_values_may_be_empty() {
    for good in [
        "a",
        "A.b-c_d",
        "clos.dev/role",
        "app.kubernetes.io/managed-by",
    ] {
        assert_eq!(label_key(good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "",
        "/a",
        "a/",
        "a/b/c",
        "Clos.dev/a",
        "-a",
        "a b",
        &"a".repeat(64),
    ] {
        assert!(!label_key(bad).is_empty(), "{bad}");
    }
    assert_eq!(label_value(""), Vec::<String>::new());
    assert_eq!(label_value("v1.2_3-x"), Vec::<String>::new());
    assert_eq!(
        label_value(&"a".repeat(64)),
        ["must be no more than 63 bytes"]
    );
    assert_eq!(label_value("a b").len(), 1);
}

#[test]
fn every_mistake_in_new_metadata_is_found() {
    assert_eq!(
        new_object(&json!({})),
        "metadata.name: Required value: name or generateName is required"
    );
    assert_eq!(new_object(&json!({ "name": "web" })), "");
    assert_eq!(
        new_object(&json!({ "name": "web-abcde", "generateName": "web-" })),
        ""
    );
    let metadata = json!({
        "name": "Web", "generateName": "-",
        "labels": { "-a": "b", "c": "d e" },
        "annotations": { "Clos.dev/X": "upper case is fine here", "a b": "" },
        "finalizers": ["clos.dev/x", "a b", "orphan", "foregroundDeletion"],
        "ownerReferences": [
            { "apiVersion": "v1", "kind": "A", "name": "a", "uid": "1", "controller": true },
            { "apiVersion": "clos.dev/", "kind": "B", "name": "b", "controller": true },
        ],
    });
    assert_snapshot!(new_object(&metadata));
}

#[test]
fn annotations_have_a_total_size() {
    let fits = json!({ "name": "web", "annotations": { "a": "x".repeat(256 * 1024 - 1) } });
    assert_eq!(new_object(&fits), "");
    let large = json!({ "name": "web", "annotations": { "a": "x".repeat(256 * 1024) } });
    assert_eq!(
        new_object(&large),
        "metadata.annotations: Too long: may not be more than 262144 bytes"
    );
}

#[test]
fn an_update_cannot_change_what_an_object_is() {
    let old = json!({ "name": "web", "namespace": "shop", "uid": "1", "creationTimestamp": "2026-11-23T09:31:02Z" });
    assert_eq!(update(&old, &old), "");
    let new = json!({
        "name": "db", "uid": "2", "creationTimestamp": "2026-11-23T09:31:03Z",
        "deletionTimestamp": "2026-11-23T09:31:03Z", "labels": { "a": "b" },
    });
    assert_snapshot!(update(&new, &old), @r#"
    metadata.name: Invalid value: "db": field is immutable
    metadata.namespace: Invalid value: "": field is immutable
    metadata.uid: Invalid value: "2": field is immutable
    metadata.creationTimestamp: Invalid value: "2026-11-23T09:31:03Z": field is immutable
    metadata.deletionTimestamp: Invalid value: "2026-11-23T09:31:03Z": field is immutable
    "#);
}

#[test]
fn finalizers_can_only_go_while_an_object_is_being_deleted() {
    let old = json!({ "name": "web", "deletionTimestamp": "2026-11-23T09:31:02Z", "finalizers": ["a/b", "a/c"] });
    let mut new = old.clone();
    new["finalizers"] = json!(["a/c"]);
    assert_eq!(update(&new, &old), "");
    new["finalizers"] = json!(["a/c", "a/new"]);
    assert_eq!(
        update(&new, &old),
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
         finalizers \"a/new\""
    );
}

#[test]
fn an_update_takes_over_what_clients_cannot_know() {
    let old = json!({ "metadata": {
        "uid": "1", "generation": 3, "creationTimestamp": "2026-11-23T09:31:02Z", "deletionTimestamp": "2026-11-23T09:32:00Z",
        "deletionGracePeriodSeconds": 0,
    }});
    let mut new = json!({ "metadata": { "name": "web", "generation": 9, "selfLink": "x", "creationTimestamp": "2027-01-01T00:00:00Z" } });
    carry_over(&mut new, &old).unwrap();
    let mut expected = old["metadata"].clone();
    expected["name"] = json!("web");
    assert_eq!(new["metadata"], expected);

    let mut other =
        json!({ "metadata": { "uid": "2", "deletionTimestamp": "2026-11-23T09:32:00Z" } });
    carry_over(&mut other, &json!({ "metadata": { "uid": "1" } })).unwrap();
    assert_eq!(
        other["metadata"],
        json!({ "uid": "2", "deletionTimestamp": "2026-11-23T09:32:00Z" }),
        "these are judged"
    );
    assert_eq!(carry_over(&mut json!([]), &old).unwrap_err().code(), 400);
}

#[test]
fn unknown_metadata_fields_are_dropped_and_named_and_wrong_types_refused() {
    let mut object = json!({ "metadata": {
        "name": "web", "label": {}, "creationTimestamp": null, "labels": { "a": null, "b": "c" },
        "ownerReferences": [{ "uid": "1", "uidd": "2" }], "managedFields": [{ "fieldsV1": { "f:a": {} } }],
    }});
    let unknown: Vec<String> = admit(&mut object)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        unknown,
        [
            r#"unknown field "metadata.label", did you mean "labels"?"#,
            r#"unknown field "metadata.ownerReferences[0].uidd", did you mean "uid"?"#,
        ]
    );
    assert_eq!(
        object["metadata"],
        json!({
            "name": "web", "labels": { "b": "c" }, "ownerReferences": [{ "uid": "1" }],
            "managedFields": [{ "fieldsV1": { "f:a": {} } }],
        })
    );
    let error =
        admit(&mut json!({ "metadata": { "labels": { "a": 1 }, "finalizers": "x" } })).unwrap_err();
    assert_eq!(error.code(), 400);
    assert_snapshot!(error, @r#"metadata.finalizers: Invalid value: "string": metadata.finalizers in body must be of type array: "string", metadata.labels.a: Invalid value: "integer": metadata.labels.a in body must be of type string: "integer""#);
}

#[test]
fn an_object_is_what_its_path_says() {
    let mut object = json!({});
    claim_namespace(&mut object, Some("shop")).unwrap();
    claim_name(&mut object, "web").unwrap();
    assert_eq!(
        object,
        json!({ "metadata": { "namespace": "shop", "name": "web" } })
    );
    claim_namespace(&mut object, Some("shop")).unwrap();
    assert_snapshot!(claim_namespace(&mut object, Some("other")).unwrap_err(), @"the namespace of the provided object does not match the namespace sent on the request (shop is not other)");
    assert_snapshot!(claim_name(&mut object, "db").unwrap_err(), @"the name of the object (web) does not match the name on the URL (db)");
    claim_namespace(&mut object, None).unwrap();
    assert_eq!(
        object["metadata"].get("namespace"),
        None,
        "cluster-scoped objects have none"
    );
    assert_eq!(
        claim_name(&mut json!({ "metadata": 1 }), "x")
            .unwrap_err()
            .code(),
        400
    );
}

#[test]
fn finalizers_without_a_domain_are_warned_about() {
    let object = json!({ "metadata": { "finalizers": ["clos.dev/x", "foregroundDeletion", "clos.dev", "mine"] } });
    assert_snapshot!(warnings(&object).join("\n"), @r#"
    metadata.finalizers: "clos.dev": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers
    metadata.finalizers: "mine": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers
    "#);
}

#[test]
fn a_generated_name_is_the_prefix_and_five_letters() {
    assert_eq!(
        generated_name("web-", [0, 1, 26, 27, u32::MAX]),
        "web-bc9b4"
    );
    assert_eq!(generated_name(&"a".repeat(80), [0; 5]).len(), 63);
}

proptest! {
    #[test]
    fn generated_names_are_names(prefix in "[a-z]([a-z0-9-]{0,70})?", random in any::<[u32; 5]>()) {
        prop_assert_eq!(dns_label(&generated_name(&prefix, random)), Vec::<String>::new());
    }

    #[test]
    fn name_checks_never_fail_on_any_text(text in any::<String>()) {
        let _ = (dns_label(&text), dns_subdomain(&text), label_key(&text), label_value(&text));
    }
}
