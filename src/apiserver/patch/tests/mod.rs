//! The examples and laws of the patch formats.

mod strategic;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn patched(current: &Value, patch: &Value, kind: PatchType) -> Result<Value, ApiError> {
    apply(current, patch.to_string().as_bytes(), kind)
}

fn refused(current: &Value, patch: &Value, kind: PatchType) -> String {
    let error = patched(current, patch, kind).expect_err("the patch is refused");
    format!("{} {error}", error.code().as_u16())
}

#[test]
fn a_media_type_names_the_kind_of_patch() {
    for kind in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
        assert_eq!(PatchType::of_media_type(kind.media_type()), Some(kind));
    }
    assert_eq!(
        PatchType::of_media_type("Application/Merge-Patch+JSON; charset=utf-8"),
        Some(PatchType::Merge)
    );
    assert_eq!(PatchType::of_media_type("application/json"), None);
    assert_eq!(
        PatchType::of_media_type("application/apply-patch+yaml"),
        None
    );
}

/// The examples of RFC 7396, appendix A, whose target and patch are objects.
#[test]
fn a_merge_patch_does_what_its_rfc_shows() {
    let cases = [
        (
            json!({ "a": "b" }),
            json!({ "a": "c" }),
            json!({ "a": "c" }),
        ),
        (
            json!({ "a": "b" }),
            json!({ "b": "c" }),
            json!({ "a": "b", "b": "c" }),
        ),
        (json!({ "a": "b" }), json!({ "a": null }), json!({})),
        (
            json!({ "a": "b", "b": "c" }),
            json!({ "a": null }),
            json!({ "b": "c" }),
        ),
        (
            json!({ "a": ["b"] }),
            json!({ "a": "c" }),
            json!({ "a": "c" }),
        ),
        (
            json!({ "a": "c" }),
            json!({ "a": ["b"] }),
            json!({ "a": ["b"] }),
        ),
        (
            json!({ "a": { "b": "c" } }),
            json!({ "a": { "b": "d", "c": null } }),
            json!({ "a": { "b": "d" } }),
        ),
        (
            json!({ "a": [{ "b": "c" }] }),
            json!({ "a": [1] }),
            json!({ "a": [1] }),
        ),
        (
            json!({ "e": null }),
            json!({ "a": 1 }),
            json!({ "e": null, "a": 1 }),
        ),
        (
            json!({}),
            json!({ "a": { "bb": { "ccc": null } } }),
            json!({ "a": { "bb": {} } }),
        ),
    ];
    for (target, patch, expected) in cases {
        assert_eq!(
            patched(&target, &patch, PatchType::Merge).unwrap(),
            expected,
            "{target} {patch}"
        );
    }
}

/// Examples of RFC 6902, appendix A.
#[test]
fn a_json_patch_does_what_its_rfc_shows() {
    let cases = [
        (
            json!({ "foo": "bar" }),
            json!([{ "op": "add", "path": "/baz", "value": "qux" }]),
            json!({ "baz": "qux", "foo": "bar" }),
        ),
        (
            json!({ "foo": ["bar", "baz"] }),
            json!([{ "op": "add", "path": "/foo/1", "value": "qux" }]),
            json!({ "foo": ["bar", "qux", "baz"] }),
        ),
        (
            json!({ "baz": "qux", "foo": "bar" }),
            json!([{ "op": "remove", "path": "/baz" }]),
            json!({ "foo": "bar" }),
        ),
        (
            json!({ "foo": ["bar", "qux", "baz"] }),
            json!([{ "op": "remove", "path": "/foo/1" }]),
            json!({ "foo": ["bar", "baz"] }),
        ),
        (
            json!({ "baz": "qux" }),
            json!([{ "op": "replace", "path": "/baz", "value": "boo" }]),
            json!({ "baz": "boo" }),
        ),
        (
            json!({ "foo": { "bar": "baz", "waldo": "fred" }, "qux": { "corge": "grault" } }),
            json!([{ "op": "move", "from": "/foo/waldo", "path": "/qux/thud" }]),
            json!({ "foo": { "bar": "baz" }, "qux": { "corge": "grault", "thud": "fred" } }),
        ),
        (
            json!({ "foo": ["all", "grass", "cows", "eat"] }),
            json!([{ "op": "move", "from": "/foo/1", "path": "/foo/3" }]),
            json!({ "foo": ["all", "cows", "eat", "grass"] }),
        ),
        (
            json!({ "baz": "qux" }),
            json!([{ "op": "test", "path": "/baz", "value": "qux" }]),
            json!({ "baz": "qux" }),
        ),
        (
            json!({ "foo": "bar" }),
            json!([{ "op": "add", "path": "/child", "value": { "grandchild": {} } }]),
            json!({ "foo": "bar", "child": { "grandchild": {} } }),
        ),
        (
            json!({ "/": 9, "~1": 10 }),
            json!([{ "op": "test", "path": "/~01", "value": 10 }]),
            json!({ "/": 9, "~1": 10 }),
        ),
        (
            json!({ "foo": ["bar"] }),
            json!([{ "op": "add", "path": "/foo/-", "value": ["abc", "def"] }]),
            json!({ "foo": ["bar", ["abc", "def"]] }),
        ),
        (
            json!({ "a": [1] }),
            json!([{ "op": "copy", "from": "/a", "path": "/b" }]),
            json!({ "a": [1], "b": [1] }),
        ),
    ];
    for (target, patch, expected) in cases {
        assert_eq!(
            patched(&target, &patch, PatchType::Json).unwrap(),
            expected,
            "{target} {patch}"
        );
    }
}

#[test]
fn a_json_patch_that_cannot_be_carried_out_says_which_operation_failed() {
    let target = json!({ "metadata": { "finalizers": ["a"] } });
    let cases = [
        (
            json!([{ "op": "test", "path": "/metadata/finalizers", "value": ["b"] }]),
            "422 the patch cannot be applied: operation 0 (test /metadata/finalizers): value did not match",
        ),
        (
            json!([{ "op": "add", "path": "/x", "value": 1 }, { "op": "remove", "path": "/y" }]),
            "422 the patch cannot be applied: operation 1 (remove /y): path is invalid",
        ),
        (
            json!([{ "op": "copy", "from": "/nowhere", "path": "/y" }]),
            "422 the patch cannot be applied: operation 0 (copy /y): \"from\" path is invalid",
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(refused(&target, &patch, PatchType::Json), expected);
    }
    assert!(
        refused(
            &target,
            &json!([{ "op": "jump", "path": "/x" }]),
            PatchType::Json
        )
        .starts_with("400 the body is not a JSON patch")
    );
    assert!(
        refused(&target, &json!({ "a": 1 }), PatchType::Json)
            .starts_with("400 the body is not a JSON patch")
    );
}

#[test]
fn a_json_patch_is_bounded_in_operations_and_in_what_it_copies() {
    let test = json!({ "op": "test", "path": "/a", "value": 1 });
    let many = Value::Array(vec![test; 10_001]);
    assert_eq!(
        refused(&json!({ "a": 1 }), &many, PatchType::Json),
        "413 Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
    let double = json!({ "op": "copy", "from": "/a", "path": "/a/-" });
    let bomb = Value::Array(vec![double; 60]);
    let error = refused(&json!({ "a": ["0123456789"] }), &bomb, PatchType::Json);
    assert!(
        error.starts_with("413 Request entity too large: the copy operations"),
        "{error}"
    );
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for kind in [PatchType::Merge, PatchType::Strategic] {
        assert_eq!(
            refused(&json!({}), &json!([1]), kind),
            "400 the patch must be a JSON object"
        );
        assert!(
            apply(&json!({}), b"{", kind)
                .unwrap_err()
                .message()
                .starts_with("the patch is not JSON: ")
        );
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (0..3).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        let name = prop_oneof![
            Just("a"),
            Just("b"),
            Just("metadata"),
            Just("finalizers"),
            Just("ownerReferences"),
            Just("uid"),
            Just("$patch"),
            Just("$retainKeys"),
            Just("$setElementOrder/finalizers"),
            Just("$deleteFromPrimitiveList/finalizers"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name.prop_map(str::to_owned), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[ab]|metadata", any_json(), 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// RFC 7396's own definition, as the oracle.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut fields = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            let present = fields.get(name).cloned().unwrap_or_default();
            fields.insert(name.clone(), merged(&present, value));
        }
    }
    Value::Object(fields)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_merge_patch_follows_the_rfc_s_definition(target in any_object(), patch in any_object()) {
        let once = patched(&target, &patch, PatchType::Merge).unwrap();
        prop_assert_eq!(&once, &merged(&target, &patch));
        prop_assert_eq!(patched(&once, &patch, PatchType::Merge).unwrap(), once);
    }

    #[test]
    fn any_json_as_a_patch_applies_or_is_refused(target in any_object(), patch in any_json(), text in any::<Vec<u8>>()) {
        for kind in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
            let _ = patched(&target, &patch, kind);
            let _ = apply(&target, &text, kind);
        }
    }

    #[test]
    fn a_strategic_patch_without_lists_and_directives_is_a_merge_patch(target in any_object(), a in 0..3, b in prop::option::of(0..3)) {
        let patch = json!({ "a": { "x": a, "y": null }, "b": b });
        let strategic = patched(&target, &patch, PatchType::Strategic).unwrap();
        prop_assert_eq!(strategic, merged(&target, &patch));
    }
}
