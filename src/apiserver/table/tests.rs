//! What `kubectl get` prints.

use insta::{assert_json_snapshot, assert_snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn columns(columns: Value) -> Columns {
    Columns::compile(&serde_json::from_value::<Vec<_>>(columns).unwrap()).unwrap()
}

fn metadata(version: &str) -> Map<String, Value> {
    Map::from_iter([("resourceVersion".to_owned(), json!(version))])
}

fn service() -> Value {
    json!({
        "apiVersion": "clos.dev/v1alpha1",
        "kind": "Service",
        "metadata": { "name": "web", "namespace": "shop", "creationTimestamp": "2026-11-23T11:57:37Z" },
        "spec": { "image": "shop/web:1.4.2", "replicas": 2, "ratio": 1, "args": ["a", "b"], "on": true },
        "status": { "conditions": [
            { "type": "Reconciling", "status": "False" }, { "type": "Ready", "status": "True", "reason": "It's [fine](ok)" },
        ]},
    })
}

#[test]
fn a_table_shows_the_columns_of_the_definition() {
    let columns = columns(json!([
        { "name": "Image", "type": "string", "jsonPath": ".spec.image" },
        { "name": "Replicas", "type": "integer", "format": "int32", "jsonPath": ".spec.replicas", "description": "How many." },
        { "name": "Ratio", "type": "number", "jsonPath": ".spec.ratio", "priority": 1 },
        { "name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status" },
        { "name": "Args", "type": "string", "jsonPath": ".spec.args" },
        { "name": "On", "type": "boolean", "jsonPath": ".spec.on" },
        { "name": "Missing", "type": "string", "jsonPath": ".spec.nothing.here" },
        { "name": "Wrong", "type": "integer", "jsonPath": ".spec.image" },
        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ]));
    let object = service();
    assert_json_snapshot!(table(
        &columns,
        [&object],
        metadata("7"),
        true,
        IncludeObject::Metadata,
        now()
    ));
}

#[test]
fn a_definition_without_columns_shows_name_and_age() {
    let object = service();
    let table = table(
        &columns(json!([])),
        [&object],
        metadata("7"),
        true,
        IncludeObject::None,
        now(),
    );
    assert_eq!(
        table["rows"],
        json!([{ "cells": ["web", "2m23s"], "object": null }])
    );
    let names: Vec<&Value> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(names, ["Name", "Age"]);
}

#[test]
fn rows_carry_as_much_of_the_object_as_asked() {
    let object = service();
    let row = |include| {
        let table = table(
            &columns(json!([])),
            [&object],
            metadata("7"),
            false,
            include,
            now(),
        );
        assert_eq!(
            table["columnDefinitions"],
            Value::Null,
            "later events of a watch repeat no columns"
        );
        table["rows"][0]["object"].clone()
    };
    assert_eq!(row(IncludeObject::Object), object);
    assert_eq!(row(IncludeObject::Metadata), partial(&object));
    assert_eq!(row(IncludeObject::None), Value::Null);
    assert_eq!(IncludeObject::parse(None).unwrap(), IncludeObject::Metadata);
    assert_eq!(
        IncludeObject::parse(Some("Object")).unwrap(),
        IncludeObject::Object
    );
    assert_eq!(
        IncludeObject::parse(Some("None")).unwrap(),
        IncludeObject::None
    );
    assert_snapshot!(IncludeObject::parse(Some("all")).unwrap_err(), @r#"unrecognized includeObject value: "all""#);
}

#[test]
fn bare_metadata_is_the_object_without_the_rest() {
    let object = service();
    assert_eq!(
        partial_list([&object], metadata("7")),
        json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": { "resourceVersion": "7" },
            "items": [{ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] }],
        })
    );
    assert_eq!(partial(&json!({}))["metadata"], json!({}));
}

#[test]
fn kubernetes_own_kinds_have_columns() {
    let created = "2026-11-20T12:00:00Z";
    let objects = [
        (
            "",
            json!({ "kind": "Namespace", "metadata": { "name": "shop", "creationTimestamp": created }, "status": { "phase": "Active" } }),
        ),
        (
            "",
            json!({ "kind": "Secret", "metadata": { "name": "s", "creationTimestamp": created }, "type": "Opaque", "data": { "a": "", "b": "" } }),
        ),
        (
            "",
            json!({ "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "a": "" }, "binaryData": { "b": "" } }),
        ),
        (
            "",
            json!({
                "kind": "Event", "metadata": { "name": "e" }, "type": "Normal", "reason": "Repaired", "message": " back \n", "count": 3,
                "firstTimestamp": "2026-11-23T11:00:00Z", "lastTimestamp": "2026-11-23T11:59:30Z",
                "involvedObject": { "kind": "Instance", "name": "web-0", "fieldPath": "spec" }, "source": { "component": "clos", "host": "h1" },
            }),
        ),
        (
            "events.k8s.io",
            json!({
                "kind": "Event", "metadata": { "name": "e" }, "type": "Warning", "reason": "Drift", "note": "killed",
                "eventTime": "2026-11-23T11:59:00.000000Z", "regarding": { "kind": "Service", "name": "web" },
                "series": { "count": 4, "lastObservedTime": "2026-11-23T11:59:59.000000Z" },
                "reportingController": "clos.dev/instance", "reportingInstance": "h1",
            }),
        ),
        (
            "",
            json!({ "kind": "Event", "metadata": { "name": "bare" }, "involvedObject": { "kind": "Host" } }),
        ),
        (
            "coordination.k8s.io",
            json!({ "kind": "Lease", "metadata": { "name": "l", "creationTimestamp": created }, "spec": { "holderIdentity": "h1" } }),
        ),
        (
            "apiextensions.k8s.io",
            json!({ "kind": "CustomResourceDefinition", "metadata": { "name": "services.clos.dev", "creationTimestamp": created } }),
        ),
    ];
    let lines: Vec<String> = objects
        .iter()
        .map(|(group, object)| {
            let kind = CoreColumns::of(group, object["kind"].as_str().unwrap()).unwrap();
            let table = table(
                &Columns::of_core(kind),
                [object],
                metadata("7"),
                true,
                IncludeObject::None,
                now(),
            );
            let definitions = table["columnDefinitions"].as_array().unwrap();
            let cells = table["rows"][0]["cells"].as_array().unwrap();
            assert_eq!(definitions.len(), cells.len(), "{kind:?}");
            let shown = definitions.iter().zip(cells).map(|(definition, cell)| {
                let wide = if definition["priority"] == 1 {
                    " (wide)"
                } else {
                    ""
                };
                format!("  {}{wide}: {cell}", definition["name"].as_str().unwrap())
            });
            format!(
                "{group} {}\n{}",
                object["kind"].as_str().unwrap(),
                shown.collect::<Vec<_>>().join("\n")
            )
        })
        .collect();
    assert_snapshot!(lines.join("\n"));
    assert_eq!(CoreColumns::of("clos.dev", "Service"), None);
}

#[test]
fn ages_are_told_in_the_units_that_matter() {
    let (minute, hour, day, year) = (60, 3600, 86_400, 31_536_000);
    let cases = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (84, "84s"),
        (119, "119s"),
        (2 * minute, "2m"),
        (2 * minute + 23, "2m23s"),
        (10 * minute - 1, "9m59s"),
        (10 * minute + 5, "10m"),
        (3 * hour - 1, "179m"),
        (3 * hour, "3h"),
        (3 * hour + 30 * minute, "3h30m"),
        (8 * hour - 1, "7h59m"),
        (8 * hour + 30 * minute, "8h"),
        (2 * day - 1, "47h"),
        (2 * day, "2d"),
        (2 * day + 5 * hour, "2d5h"),
        (8 * day - 1, "7d23h"),
        (8 * day + 5 * hour, "8d"),
        (2 * year - 1, "729d"),
        (2 * year, "2y"),
        (2 * year + 3 * day, "2y3d"),
        (8 * year - 1, "7y364d"),
        (8 * year + 100 * day, "8y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(age::duration(seconds), expected, "{seconds}");
    }
    assert_eq!(age::since("", now()), "<unknown>");
    assert_eq!(age::since("yesterday", now()), "<invalid>");
    assert_eq!(age::since("2026-11-23T11:59:59.500Z", now()), "0s");
}

#[test]
fn paths_find_the_first_value() {
    let object = json!({
        "a": { "b.c": 1, "d": [10, 20, 30], "e": [{ "t": "x", "n": 1 }, { "t": "y", "n": 2 }, { "t": "a)]b", "n": 3 }] },
        "n": null,
    });
    let cases = [
        (".a.d[0]", json!(10)),
        ("a.d[1]", json!(20)),
        ("{.a.d[-1]}", json!(30)),
        ("$.a.d[*]", json!(10)),
        (".a['b.c']", json!(1)),
        (".a[\"b.c\"]", json!(1)),
        (r".a.b\.c", json!(1)),
        (".a.e[?(@.t==\"y\")].n", json!(2)),
        (".a.e[?(@.t=='y')].n", json!(2)),
        (".a.e[?(@.t != 'x')].n", json!(2)),
        (".a.e[?(@.n==2)].t", json!("y")),
        (".a.e[?(@.t==\"a)]b\")].n", json!(3)),
        (".a.e[*].n", json!(1)),
        (".a.e.*.n", json!(1)),
        (".n", json!(null)),
    ];
    for (text, expected) in cases {
        assert_eq!(
            JsonPath::parse(text).unwrap().first(&object),
            Some(&expected),
            "{text}"
        );
    }
    assert_eq!(JsonPath::parse(".").unwrap().first(&object), Some(&object));
    for text in [
        ".x",
        ".a.d[9]",
        ".a.d[-9]",
        ".a.e[?(@.t==\"z\")].n",
        ".a[0]",
        ".n.x",
    ] {
        assert_eq!(
            JsonPath::parse(text).unwrap().first(&object),
            None,
            "{text}"
        );
    }
}

#[test]
fn an_unusable_column_stops_the_server_not_its_users() {
    for text in [
        ".a[",
        ".a[x]",
        ".a[?(@.t)]",
        ".a[?(t==1)]",
        ".a..b",
        ".a[?(@.t==y)]",
        ".a['b]",
        ".a[0]b",
    ] {
        assert!(JsonPath::parse(text).is_err(), "{text}");
    }
    let compile = |column: Value| {
        use std::error::Error as _;
        let error = Columns::compile(&[serde_json::from_value(column).unwrap()]).unwrap_err();
        format!(
            "{error}: {}",
            error.source().map(ToString::to_string).unwrap_or_default()
        )
    };
    assert_snapshot!(compile(json!({ "name": "A", "type": "string", "jsonPath": ".a[" })), @r#"column "A" has an unusable jsonPath: cannot read the path from "[" on; a step is .name, ['name'], [0], [*] or [?(@.name=="value")]"#);
    assert_snapshot!(compile(json!({ "name": "A", "type": "text", "jsonPath": ".a" })), @r#"column "A" has the unknown type "text": "#);
}

proptest! {
    #[test]
    fn any_path_parses_or_is_refused_and_finds_something_or_nothing(text in "[a-c.\\[\\]?()@='\"0-2*\\\\ -]{0,16}") {
        let object = json!({ "a": [{ "b": "c" }, 1], "b": { "a": "b" } });
        if let Ok(path) = JsonPath::parse(&text) {
            let _ = path.first(&object);
        }
    }

    #[test]
    fn an_age_is_never_longer_than_six_letters_and_grows(seconds in 0_i64..1_000_000_000) {
        prop_assert!(age::duration(seconds).len() <= 6, "{}", age::duration(seconds));
    }
}
