//! How single values are judged: bounds, patterns and formats.

use super::*;

#[test]
fn values_are_judged_in_the_servers_words() {
    let cases = [
        (json!({ "type": "string" }), json!(1)),
        (json!({ "type": "string" }), json!([])),
        (json!({ "type": "boolean" }), json!("true")),
        (json!({ "type": "object" }), json!("{}")),
        (
            json!({ "type": "array", "items": { "type": "string" } }),
            json!([null]),
        ),
        (json!({ "type": "integer" }), json!(1.5)),
        (
            json!({ "type": "integer" }),
            json!(9_223_372_036_854_775_808_u64),
        ),
        (json!({ "type": "integer", "format": "int32" }), json!(true)),
        (json!({ "type": "integer", "format": "int32" }), json!("1")),
        (
            json!({ "type": "integer", "format": "int32" }),
            json!(3_000_000_000_u32),
        ),
        (json!({ "type": "string", "format": "date-time" }), json!(5)),
        (json!({ "type": "integer", "minimum": 1 }), json!(0)),
        (
            json!({ "type": "integer", "minimum": 1, "exclusiveMinimum": true }),
            json!(1),
        ),
        (json!({ "type": "number", "maximum": 1.5 }), json!(2)),
        (
            json!({ "type": "number", "maximum": 1.5, "exclusiveMaximum": true }),
            json!(1.5),
        ),
        (json!({ "type": "integer", "multipleOf": 5 }), json!(7)),
        (json!({ "type": "string", "maxLength": 2 }), json!("abc")),
        (json!({ "type": "string", "minLength": 2 }), json!("ä")),
        (
            json!({ "type": "string", "pattern": "^[a-z]+$" }),
            json!("A\"B"),
        ),
        (json!({ "type": "string", "enum": ["a", "b"] }), json!("c")),
        (json!({ "type": "integer", "enum": [1, 2] }), json!(3)),
        (
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
            json!([]),
        ),
        (
            json!({ "type": "array", "items": { "type": "string" }, "maxItems": 1 }),
            json!(["a", "b"]),
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1 }),
            json!({}),
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 1 }),
            json!({ "a": "", "b": "" }),
        ),
        (json!({ "x-kubernetes-int-or-string": true }), json!(true)),
        (
            json!({ "type": "string", "anyOf": [{ "pattern": "a" }, { "pattern": "b" }] }),
            json!("c"),
        ),
        (
            json!({ "type": "string", "oneOf": [{ "pattern": "a" }, { "pattern": "b" }] }),
            json!("ab"),
        ),
        (
            json!({ "type": "string", "oneOf": [{ "pattern": "a" }, { "pattern": "b" }] }),
            json!("c"),
        ),
        (
            json!({ "type": "string", "allOf": [{ "pattern": "a" }, { "pattern": "b" }] }),
            json!("a"),
        ),
        (
            json!({ "type": "string", "not": { "pattern": "a" } }),
            json!("a"),
        ),
        (
            json!({ "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }),
            json!({ "kind": "" }),
        ),
    ];
    let lines: Vec<String> = cases
        .into_iter()
        .map(|(node, value)| format!("{node} {value}\n  {}", found(&node, &value).join("\n  ")))
        .collect();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_fits_passes() {
    let cases = [
        (json!({ "type": "integer" }), json!(2.0)),
        (json!({ "type": "number" }), json!(2)),
        (json!({ "type": "integer", "enum": [2] }), json!(2.0)),
        (json!({ "type": "number", "multipleOf": 0.1 }), json!(0.3)),
        (
            json!({ "type": "string", "nullable": true, "enum": ["a"] }),
            json!(null),
        ),
        (json!({ "x-kubernetes-int-or-string": true }), json!(5)),
        (json!({ "x-kubernetes-int-or-string": true }), json!("50%")),
        (json!({ "type": "string", "maxLength": 2 }), json!("äö")),
        (
            json!({ "type": "string", "format": "no-such-format" }),
            json!("anything"),
        ),
        (
            json!({ "type": "string", "anyOf": [{ "pattern": "a" }, { "pattern": "b" }] }),
            json!("ab"),
        ),
        (
            json!({ "type": "array", "items": { "type": "string", "default": "d" } }),
            json!(["a", null]),
        ),
    ];
    for (node, value) in cases {
        assert_eq!(found(&node, &value), Vec::<String>::new(), "{node} {value}");
    }
}

#[test]
fn formats_are_checked() {
    let cases = [
        (
            "date-time",
            vec!["2026-11-23T09:31:02Z", "2026-11-23T09:31:02.5+01:00"],
            vec!["2026-11-23", "soon", ""],
        ),
        (
            "date",
            vec!["2026-11-23"],
            vec!["2026-11-23T09:31:02Z", "2026-13-01"],
        ),
        (
            "duration",
            vec!["30s", "1h30m", "-1.5h", "250ms", "0", "1µs"],
            vec!["", "30", "1d", "s", ".s", "1.2.3s"],
        ),
        ("byte", vec!["aGVsbG8=", ""], vec!["aGVsbG8", "*"]),
        (
            "uri",
            vec!["https://clos.dev/a?b", "/path"],
            vec!["clos.dev", "", "http:", "1http://x"],
        ),
        (
            "hostname",
            vec!["a", "web-1.clos.dev"],
            vec!["", "-a", "a..b", "a b"],
        ),
        ("ipv4", vec!["10.0.0.1"], vec!["10.0.0", "::1", "10.0.0.01"]),
        (
            "ipv6",
            vec!["::1", "fe80::1"],
            vec!["10.0.0.1", "fe80::1::2"],
        ),
        (
            "cidr",
            vec!["10.0.0.0/8", "fe80::/10"],
            vec!["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "fe80::/129"],
        ),
        (
            "uuid",
            vec![
                "67e55044-10b1-426f-9247-bb680e5fe0c8",
                "67E5504410B1426F9247BB680E5FE0C8",
            ],
            vec!["67e55044", ""],
        ),
        ("email", vec!["a@clos.dev"], vec!["a", "@b", "a@", "a b@c"]),
    ];
    for (format, good, bad) in cases {
        let node = json!({ "type": "string", "format": format });
        for text in good {
            assert_eq!(
                found(&node, &json!(text)),
                Vec::<String>::new(),
                "{format} {text}"
            );
        }
        for text in bad {
            let expected = format!(
                "FieldValueTypeInvalid spec.x: Invalid value: \"{text}\": spec.x in body must be of type {format}: \"{text}\""
            );
            assert_eq!(found(&node, &json!(text)), [expected], "{format} {text}");
        }
    }
}
