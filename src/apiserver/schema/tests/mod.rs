//! What one pass over an object does and finds.

mod properties;
mod values;

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn schema(schema: &Value) -> Schema {
    Schema::compile(schema).unwrap()
}

/// A schema whose `spec` has these properties.
fn with_spec(properties: &Value) -> Schema {
    schema(
        &json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": properties } } }),
    )
}

/// The object after the pass, and what was found as lines.
fn admitted(schema: &Schema, mut object: Value) -> (Value, Vec<String>) {
    let mut findings = Findings::default();
    schema.admit(&mut object, &mut findings);
    let unknown = findings.unknown.iter().map(ToString::to_string);
    let lines = unknown.chain(
        findings
            .causes
            .iter()
            .map(|cause| format!("{:?} {cause}", cause.reason)),
    );
    (object, lines.collect())
}

/// What is found in a `spec` of one field `x` with this schema and value.
fn found(node: &Value, value: &Value) -> Vec<String> {
    let schema = with_spec(&json!({ "x": node }));
    admitted(&schema, json!({ "spec": { "x": value } })).1
}

/// Much like a Service of clos.
fn service() -> Schema {
    schema(&json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "spec": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": { "type": "string", "minLength": 1, "maxLength": 20 },
                    "replicas": { "type": "integer", "format": "int32", "minimum": 0, "maximum": 100, "default": 1 },
                    "env": { "type": "object", "additionalProperties": { "type": "string" } },
                    "update": {
                        "type": "object",
                        "default": {},
                        "properties": {
                            "strategy": { "type": "string", "enum": ["StartFirst", "StopFirst"], "default": "StopFirst" },
                        },
                    },
                    "ports": {
                        "type": "array",
                        "maxItems": 3,
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                        "items": {
                            "type": "object",
                            "required": ["containerPort"],
                            "properties": {
                                "containerPort": { "type": "integer", "minimum": 1, "maximum": 65535 },
                                "hostPort": {
                                    "x-kubernetes-int-or-string": true,
                                    "anyOf": [{ "type": "integer" }, { "type": "string", "enum": ["auto"] }],
                                },
                                "protocol": { "type": "string", "default": "TCP" },
                            },
                        },
                    },
                    "tags": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
                    "extra": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "note": { "type": "string", "nullable": true },
                },
            },
        },
    }))
}

#[test]
fn defaults_are_filled_in_also_below_a_default() {
    let (object, found) = admitted(
        &service(),
        json!({ "spec": { "image": "a", "ports": [{ "containerPort": 80 }] } }),
    );
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(
        object["spec"],
        json!({
            "image": "a",
            "replicas": 1,
            "update": { "strategy": "StopFirst" },
            "ports": [{ "containerPort": 80, "protocol": "TCP" }],
        })
    );
}

#[test]
fn a_null_counts_as_absent_unless_the_field_may_be_null() {
    let spec = json!({ "image": "a", "replicas": null, "update": null, "env": { "A": null, "B": "b" }, "note": null });
    let (object, found) = admitted(&service(), json!({ "spec": spec }));
    assert_eq!(found, Vec::<String>::new());
    let expected = json!({
        "image": "a", "replicas": 1, "update": { "strategy": "StopFirst" }, "env": { "B": "b" }, "note": null,
    });
    assert_eq!(object["spec"], expected);
}

#[test]
fn a_null_for_a_required_field_is_a_missing_field() {
    let (_, found) = admitted(&service(), json!({ "spec": { "image": null } }));
    assert_eq!(found, ["FieldValueRequired spec.image: Required value"]);
}

#[test]
fn unknown_fields_are_dropped_and_named_with_the_field_they_were_meant_to_be() {
    let spec = json!({
        "image": "a", "imagee": "b", "ports": [{ "containerPort": 1, "hostport": 2 }], "extra": { "any": { "thing": 1 } },
        "zzz": 1,
    });
    let (object, found) = admitted(
        &service(),
        json!({ "spec": spec, "metadata": { "bogus": 1 }, "stauts": {} }),
    );
    assert_snapshot!(found.join("\n"), @r#"
    unknown field "spec.imagee", did you mean "image"?
    unknown field "spec.ports[0].hostport", did you mean "hostPort"?
    unknown field "spec.zzz"
    unknown field "stauts"
    "#);
    assert_eq!(object["spec"].get("imagee"), None);
    assert_eq!(object["spec"]["ports"][0].get("hostport"), None);
    assert_eq!(object["spec"]["extra"], json!({ "any": { "thing": 1 } }));
    assert_eq!(
        object["metadata"],
        json!({ "bogus": 1 }),
        "metadata belongs to others"
    );
}

#[test]
fn every_mistake_is_found_at_once_with_its_path() {
    let spec = json!({
        "image": "", "replicas": 101, "env": { "A": 1 }, "update": { "strategy": "Never" },
        "ports": [
            { "containerPort": 80, "hostPort": "http" }, { "containerPort": 80 }, { "hostPort": true },
            { "containerPort": "x" },
        ],
        "tags": ["a", "b", "a"],
    });
    let (_, found) = admitted(&service(), json!({ "spec": spec }));
    assert_snapshot!(found.join("\n"));
}

#[test]
fn a_list_map_takes_each_combination_of_keys_once_defaults_included() {
    let node = json!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": { "type": "object", "properties": {
            "port": { "type": "integer" }, "protocol": { "type": "string", "default": "TCP" }, "name": { "type": "string" },
        }},
    });
    let twice = json!([{ "port": 80 }, { "port": 80, "protocol": "UDP" }, { "port": 80, "protocol": "TCP", "name": "a" }]);
    assert_eq!(
        found(&node, &twice),
        [r#"FieldValueDuplicate spec.x[2]: Duplicate value: {"port":80,"protocol":"TCP"}"#]
    );
    let thrice = json!([{ "port": 80 }, { "port": 80 }, { "port": 80 }]);
    assert_eq!(found(&node, &thrice).len(), 1, "the third adds nothing");
    let stray = found(&node, &json!([{ "port": 80 }, "text"]));
    assert!(
        stray[1].contains("must be an object for an array of list-type map"),
        "{stray:?}"
    );
}

#[test]
fn one_field_can_be_admitted_alone() {
    let schema = schema(&json!({ "type": "object", "properties": {
        "spec": { "type": "object", "required": ["image"], "properties": { "image": { "type": "string" } } },
        "status": { "type": "object", "properties": { "ready": { "type": "integer", "default": 0 } } },
    }}));
    let mut object = json!({ "spec": { "old": true }, "status": { "bogus": 1 } });
    let mut findings = Findings::default();
    schema.admit_field("status", &mut object, &mut findings);
    assert_eq!(
        object,
        json!({ "spec": { "old": true }, "status": { "ready": 0 } })
    );
    assert_eq!(findings.causes, Vec::new());
    assert_eq!(
        findings.unknown[0].to_string(),
        "unknown field \"status.bogus\""
    );
    schema.admit_field("nowhere", &mut object, &mut Findings::default());
    let mut absent = json!({ "spec": {} });
    schema.admit_field("status", &mut absent, &mut Findings::default());
    assert_eq!(absent, json!({ "spec": {} }));
}

#[test]
fn a_name_rule_in_the_schema_is_judged_and_metadata_is_left_alone() {
    let schema = schema(&json!({ "type": "object", "properties": {
        "metadata": { "type": "object", "properties": { "name": { "type": "string", "maxLength": 3 } } },
    }}));
    let object = json!({ "metadata": { "name": "toolong", "labels": { "a": null } } });
    let (after, found) = admitted(&schema, object.clone());
    assert_eq!(after, object);
    assert_eq!(
        found,
        ["FieldValueTooLong metadata.name: Too long: may not be more than 3 bytes"]
    );
}

#[test]
fn what_rules_could_stumble_over_blocks_them() {
    let finds = |object: Value| {
        let mut findings = Findings::default();
        service().admit(&mut object.clone(), &mut findings);
        !findings.in_the_way_of_rules().is_empty()
    };
    assert!(finds(json!({ "spec": {} })), "a missing field");
    assert!(finds(json!({ "spec": { "image": 1 } })), "a wrong type");
    assert!(
        finds(json!({ "spec": { "image": "a", "update": { "strategy": "x" } } })),
        "a value out of its enum"
    );
    assert!(
        !finds(json!({ "spec": { "image": "a", "replicas": -1 } })),
        "a broken bound"
    );
    assert!(
        !finds(json!({ "spec": { "image": "a", "tags": ["a", "a"] } })),
        "a duplicate"
    );
}

#[test]
fn a_schema_that_cannot_be_served_says_where_and_why() {
    let cases = [
        json!("text"),
        json!({ "type": "text" }),
        json!({ "properties": { "a": { "maxLength": -1 } } }),
        json!({ "properties": { "a": { "maxLength": "3" } } }),
        json!({ "properties": { "a": { "items": { "$ref": "#/x" } } } }),
        json!({ "properties": { "a": { "type": "array", "uniqueItems": true } } }),
        json!({ "properties": { "a": { "pattern": "(" } } }),
        json!({ "properties": { "a": { "type": "integer", "minimum": 1, "default": 0 } } }),
        json!({ "properties": { "a": { "type": "object", "default": { "b": 1 } } } }),
        json!({ "x-kubernetes-list-type": "bag" }),
        json!({ "x-kubernetes-list-type": "map" }),
        json!({ "x-kubernetes-map-type": "loose" }),
        json!({ "required": [1] }),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|schema| format!("{schema}\n  {}", Schema::compile(schema).unwrap_err()))
        .collect();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_misspelt_name_finds_the_one_it_was_meant_to_be() {
    let known = [
        "image",
        "replicas",
        "hostPort",
        "healthCheck",
        "env",
        "dependsOn",
    ];
    let cases = [
        ("imagee", Some("image")),
        ("iamge", Some("image")),
        ("Image", Some("image")),
        ("hostport", Some("hostPort")),
        ("healthcheck", Some("healthCheck")),
        ("replica", Some("replicas")),
        ("depends_on", Some("dependsOn")),
        ("enc", Some("env")),
        ("x", None),
        ("volumes", None),
        ("", None),
    ];
    for (unknown, expected) in cases {
        assert_eq!(suggest(unknown, known), expected, "{unknown}");
    }
    assert_eq!(
        suggest(&"image".repeat(20), known),
        None,
        "a very long name is not compared"
    );
}
