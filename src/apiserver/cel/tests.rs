//! What rules find, and which rules are refused.

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What the rules of a schema find in an object that is admitted first.
fn found(schema: &Value, object: Value, old: Option<&Value>) -> String {
    let (compiled, rules) = (
        Schema::compile(schema).unwrap(),
        Rules::compile(schema).unwrap(),
    );
    let mut object = object;
    let mut findings = Findings::default();
    compiled.admit(&mut object, &mut findings);
    rules.check(&compiled, &object, old, &mut findings);
    let lines = findings
        .causes
        .iter()
        .map(|cause| format!("{:?} {cause}", cause.reason));
    lines.collect::<Vec<_>>().join("\n")
}

/// A schema whose `spec` has these properties and rules.
fn with_spec(properties: &Value, rules: &Value) -> Value {
    json!({ "type": "object", "properties": { "spec": {
        "type": "object", "properties": properties, "x-kubernetes-validations": rules,
    }}})
}

/// What one rule about `self.x` finds in a value.
fn judged(node: &Value, rule: &str, value: &Value) -> String {
    let schema = with_spec(
        &json!({ "x": node }),
        &json!([{ "rule": rule, "message": "no" }]),
    );
    found(&schema, json!({ "spec": { "x": value } }), None)
}

fn refused(node: &Value) -> String {
    use std::error::Error as _;
    let error =
        Rules::compile(&json!({ "type": "object", "properties": { "spec": node } })).unwrap_err();
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error} | {}", source.lines().next().unwrap_or_default())
}

#[test]
fn a_broken_rule_is_told_in_its_own_words() {
    let number = json!({ "type": "integer" });
    let properties = json!({ "min": number, "max": number, "env": { "type": "object", "additionalProperties": { "type": "string" } } });
    let cases = [
        json!([{ "rule": "self.min <= self.max" }]),
        json!([{ "rule": "self.min <= self.max", "message": "min must not exceed max" }]),
        json!([{ "rule": "self.min <= self.max", "message": "fixed", "messageExpression": "'min is ' + string(self.min)" }]),
        json!([{ "rule": "self.min <= self.max", "message": "fixed", "messageExpression": "string(self.min / 0)" }]),
        json!([{ "rule": "self.min <= self.max", "fieldPath": ".min", "reason": "FieldValueForbidden", "message": "too large" }]),
        json!([{ "rule": "self.min <= self.max", "fieldPath": ".env['A.B']", "reason": "FieldValueRequired", "message": "set it" }]),
        json!([{ "rule": "self.min <= self.max", "reason": "FieldValueDuplicate", "message": "twice" }]),
        json!([{ "rule": "self.min / 0 == 1" }]),
        json!([{ "rule": "self.nowhere == 1" }]),
        json!([{ "rule": "self.min" }]),
        json!([{ "rule": "self.min > self.max" }]),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|rules| {
            found(
                &with_spec(&properties, rules),
                json!({ "spec": { "min": 2, "max": 1 } }),
                None,
            )
        })
        .collect();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn rules_hold_wherever_they_stand() {
    let positive = json!([{ "rule": "self > 0", "message": "must be positive" }]);
    let number = json!({ "type": "integer", "x-kubernetes-validations": positive });
    let item = json!({ "type": "object", "properties": { "n": number, "note": { "type": "string", "nullable": true, "x-kubernetes-validations": [{ "rule": "self != ''" }] } } });
    let schema = json!({
        "type": "object",
        "properties": { "spec": { "type": "object", "properties": {
            "list": { "type": "array", "items": item }, "map": { "type": "object", "additionalProperties": number },
        }}},
        "x-kubernetes-validations": [{ "rule": "self.metadata.name != 'bad' && !has(self.metadata.labels)", "message": "bad name" }],
    });
    let object = json!({
        "metadata": { "name": "bad", "labels": {} },
        "spec": { "list": [{ "n": 1 }, { "n": -1, "note": null }], "map": { "a.b": -2, "c": 3 } },
    });
    assert_snapshot!(found(&schema, object, None), @r"
    FieldValueInvalid <nil>: Invalid value: bad name
    FieldValueInvalid spec.list[1].n: Invalid value: -1: must be positive
    FieldValueInvalid spec.map[a.b]: Invalid value: -2: must be positive
    ");
    let good = json!({ "metadata": { "name": "good", "labels": {} }, "spec": {} });
    assert_eq!(
        found(&schema, good, None),
        "",
        "labels are not seen by rules"
    );
}

#[test]
fn transition_rules_hold_on_update_only_and_find_the_old_item_by_its_key() {
    let fixed = json!([{ "rule": "self == oldSelf", "message": "must not change" }]);
    let size = json!({ "type": "integer", "x-kubernetes-validations": fixed });
    let schema = with_spec(
        &json!({
            "size": size,
            "volumes": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": { "type": "object", "properties": { "name": { "type": "string" }, "size": size } },
            },
        }),
        &json!([{ "rule": "!has(oldSelf.size) || has(self.size)", "message": "size cannot be removed" }]),
    );
    let old = json!({ "spec": { "size": 1, "volumes": [{ "name": "a", "size": 1 }, { "name": "b", "size": 2 }] } });
    assert_eq!(found(&schema, old.clone(), None), "");
    assert_eq!(found(&schema, old.clone(), Some(&old)), "");
    let new = json!({ "spec": { "volumes": [{ "name": "b", "size": 9 }, { "name": "c", "size": 3 }, { "name": "a", "size": 1 }] } });
    assert_snapshot!(found(&schema, new, Some(&old)), @r"
    FieldValueInvalid spec: Invalid value: size cannot be removed
    FieldValueInvalid spec.volumes[0].size: Invalid value: 9: must not change
    ");
    let empty = json!({ "spec": {} });
    assert_eq!(
        found(&schema, old, Some(&empty)),
        "",
        "what is new has no old value"
    );
}

#[test]
fn what_the_schema_found_keeps_rules_from_being_evaluated() {
    let node = json!({ "type": "string", "enum": ["a"] });
    assert_snapshot!(judged(&node, "false", &json!("b")), @r#"
    FieldValueNotSupported spec.x: Unsupported value: "b": supported values: "a"
    FieldValueInvalid <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation
    "#);
    let bounded = json!({ "type": "integer", "minimum": 5 });
    let both = judged(&bounded, "false", &json!(1));
    assert_eq!(both.lines().count(), 2, "a broken bound does not: {both}");
    let no_rules = json!({ "type": "object", "properties": { "spec": { "type": "string" } } });
    assert_eq!(
        found(&no_rules, json!({ "spec": 1 }), None).lines().count(),
        1,
        "without rules there is nothing to tell"
    );
}

#[test]
fn what_is_wrong_elsewhere_keeps_no_rule_from_being_evaluated() {
    let short = json!([{ "rule": "size(self) < 3", "message": "is too long" }]);
    let schema = json!({ "type": "object", "properties": { "spec": {
        "type": "object",
        "x-kubernetes-validations": [{ "rule": "false", "message": "reads everything" }],
        "properties": {
            "state": { "type": "string", "enum": ["On"], "x-kubernetes-validations": short },
            "statement": { "type": "string", "x-kubernetes-validations": short },
            "ports": { "type": "array", "items": { "type": "object", "x-kubernetes-validations": [{ "rule": "self.number < 10", "message": "is no port" }],
                "properties": { "number": { "type": "integer" }, "kind": { "type": "string", "enum": ["a"] } } } },
            "names": { "type": "array", "maxItems": 1, "items": { "type": "string", "x-kubernetes-validations": short } },
        },
    } } });
    let object = json!({ "spec": {
        "state": "Paused", "statement": "long", "ports": [{ "number": 80 }, { "number": 80, "kind": "b" }], "names": ["long", "longer"],
    } });
    assert_snapshot!(found(&schema, object, None));
}

#[test]
fn values_reach_rules_in_the_types_of_the_schema() {
    let cases = [
        (json!({ "type": "integer" }), "self.x % 2 == 0", json!(2)),
        (json!({ "type": "integer" }), "self.x % 2 == 0", json!(2.0)),
        (json!({ "type": "number" }), "self.x / 2.0 == 1.5", json!(3)),
        (
            json!({ "type": "string" }),
            "self.x.matches('^[a-z]+$') && size(self.x) == 3",
            json!("abc"),
        ),
        (
            json!({ "type": "string", "format": "date-time" }),
            "self.x < timestamp('2027-01-01T00:00:00Z')",
            json!("2026-11-23T09:31:02Z"),
        ),
        (
            json!({ "type": "string", "format": "duration" }),
            "self.x == duration('90s')",
            json!("1m30s"),
        ),
        (
            json!({ "type": "string", "format": "byte" }),
            "self.x == b'hello'",
            json!("aGVsbG8="),
        ),
        (
            json!({ "x-kubernetes-int-or-string": true }),
            "type(self.x) == int || self.x == 'auto'",
            json!("auto"),
        ),
        (
            json!({ "type": "array", "items": { "type": "integer" } }),
            "self.x.all(n, n > 0) && self.x.exists_one(n, n == 2)",
            json!([1, 2]),
        ),
        (
            json!({ "type": "array", "items": { "type": "integer" } }),
            "self.x.isSorted() && self.x.sum() == 3",
            json!([1, 2]),
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            "self.x['a.b'] == 'c' && 'a.b' in self.x",
            json!({ "a.b": "c" }),
        ),
        (
            json!({ "type": "object", "properties": { "a-b.c": { "type": "integer" } } }),
            "self.x.a__dash__b__dot__c == 1",
            json!({ "a-b.c": 1 }),
        ),
        (
            json!({ "type": "object", "properties": { "namespace": { "type": "integer" } } }),
            "self.x.__namespace__ == 1",
            json!({ "namespace": 1 }),
        ),
        (
            json!({ "type": "object", "properties": { "a_b": { "type": "integer" } } }),
            "self.x.a_b == 1",
            json!({ "a_b": 1 }),
        ),
        (
            json!({ "type": "object", "properties": { "a": { "type": "integer" } } }),
            "has(self.x.a) && !has(self.x.b)",
            json!({ "a": 1 }),
        ),
        (
            json!({ "type": "string", "nullable": true }),
            "self.x == null",
            json!(null),
        ),
        (
            json!({ "type": "string" }),
            "quantity(self.x).isLessThan(quantity('1Gi'))",
            json!("512Mi"),
        ),
        (
            json!({ "type": "string" }),
            "math.greatest(1, size(self.x)) == 1",
            json!(""),
        ),
    ];
    for (node, rule, value) in cases {
        assert_eq!(judged(&node, rule, &value), "", "{rule} on {value}");
    }
}

#[test]
fn one_field_can_be_judged_alone() {
    let never = json!([{ "rule": "false", "message": "no" }]);
    let schema = json!({ "type": "object", "x-kubernetes-validations": never, "properties": {
        "spec": { "type": "object", "x-kubernetes-validations": never },
        "status": { "type": "object", "x-kubernetes-validations": never },
    }});
    let (compiled, rules) = (
        Schema::compile(&schema).unwrap(),
        Rules::compile(&schema).unwrap(),
    );
    let mut findings = Findings::default();
    rules.check_field(
        "status",
        &compiled,
        &json!({ "spec": {}, "status": {} }),
        None,
        &mut findings,
    );
    let fields: Vec<&str> = findings
        .causes
        .iter()
        .map(|cause| cause.field.as_str())
        .collect();
    assert_eq!(fields, ["status"]);
}

#[test]
fn rules_that_make_no_sense_stop_the_server_not_its_users() {
    let rule = |rule: Value| json!({ "type": "object", "properties": { "a": {} }, "x-kubernetes-validations": [rule] });
    let lines = [
        refused(&rule(json!({ "rule": "self.a >" }))),
        refused(&rule(json!({ "rule": "other.a" }))),
        refused(&rule(json!({ "rule": "[1].all(x, y > 0)" }))),
        refused(&rule(
            json!({ "rule": "true", "messageExpression": "'a' +" }),
        )),
        refused(&rule(json!({ "rule": "true", "reason": "BecauseISaySo" }))),
        refused(&rule(json!({ "rule": "true", "fieldPath": ".nowhere" }))),
        refused(&rule(json!({ "rule": "true", "fieldPath": "a" }))),
        refused(&rule(
            json!({ "rule": "oldSelf == self", "optionalOldSelf": true }),
        )),
        refused(&rule(json!({ "message": "no rule" }))),
        refused(
            &json!({ "type": "array", "items": { "x-kubernetes-validations": [{ "rule": "self == oldSelf" }] } }),
        ),
    ];
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn rules_and_schemas_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Rules>();
    shared::<Schema>();
}

proptest! {
    #[test]
    fn rules_give_an_answer_on_any_number(value in any::<i64>()) {
        let schema = with_spec(&json!({ "x": { "type": "integer" } }), &json!([{ "rule": "self.x + 1 > self.x", "message": "no" }]));
        let answer = found(&schema, json!({ "spec": { "x": value } }), None);
        // The one number without a successor is an error of the rule, not a crash.
        prop_assert_eq!(answer.is_empty(), value != i64::MAX);
    }
}
