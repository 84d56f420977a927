//! Strategic merge patches: maps, the lists of the table, and directives.

use super::*;

#[test]
fn a_strategic_patch_merges_maps_and_the_lists_of_the_table() {
    let current = json!({
        "metadata": {
            "labels": { "a": "1", "b": "2" },
            "finalizers": ["x", "y"],
            "ownerReferences": [{ "uid": "1", "name": "one" }, { "uid": "2", "name": "two" }],
        },
        "data": { "k": "v" },
        "list": [1, 2],
        "status": { "conditions": [{ "type": "A", "status": "False", "reason": "r" }] },
    });
    let cases = [
        (
            json!({ "metadata": { "labels": { "a": null, "c": "3" } } }),
            "/metadata/labels",
            json!({ "b": "2", "c": "3" }),
        ),
        (
            json!({ "data": { "$patch": "replace", "n": "w" } }),
            "/data",
            json!({ "n": "w" }),
        ),
        (
            json!({ "data": { "$patch": "delete" } }),
            "/data",
            json!({}),
        ),
        (
            json!({ "data": { "$patch": "merge", "n": "w" } }),
            "/data",
            json!({ "k": "v", "n": "w" }),
        ),
        (
            json!({ "metadata": { "labels": { "$retainKeys": ["a", "c"], "c": "3" } } }),
            "/metadata/labels",
            json!({ "a": "1", "c": "3" }),
        ),
        (json!({ "list": [3] }), "/list", json!([3])),
        (
            json!({ "metadata": { "finalizers": ["y", "z"] } }),
            "/metadata/finalizers",
            json!(["x", "y", "z"]),
        ),
        (
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["x"] } }),
            "/metadata/finalizers",
            json!(["y"]),
        ),
        (
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"], "$setElementOrder/finalizers": ["z", "y"] } }),
            "/metadata/finalizers",
            json!(["z", "y"]),
        ),
        (
            json!({ "metadata": { "$setElementOrder/finalizers": ["y", "x"] } }),
            "/metadata/finalizers",
            json!(["y", "x"]),
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "uid": "2", "name": "deux" }, { "uid": "3" }] } }),
            "/metadata/ownerReferences",
            json!([{ "uid": "1", "name": "one" }, { "uid": "2", "name": "deux" }, { "uid": "3" }]),
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "$patch": "delete", "uid": "1" }] } }),
            "/metadata/ownerReferences",
            json!([{ "uid": "2", "name": "two" }]),
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "uid": "9" }, { "$patch": "replace" }] } }),
            "/metadata/ownerReferences",
            json!([{ "uid": "9" }]),
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "uid": "2", "name": null }], "$setElementOrder/ownerReferences": [{ "uid": "2" }, { "uid": "1" }] } }),
            "/metadata/ownerReferences",
            json!([{ "uid": "2" }, { "uid": "1", "name": "one" }]),
        ),
        (
            json!({ "status": { "conditions": [{ "type": "A", "status": "True" }, { "type": "B", "status": "True" }] } }),
            "/status/conditions",
            json!([{ "type": "A", "status": "True", "reason": "r" }, { "type": "B", "status": "True" }]),
        ),
        (
            json!({ "new": { "deep": { "gone": null, "kept": 1 } } }),
            "/new",
            json!({ "deep": { "kept": 1 } }),
        ),
    ];
    for (patch, place, expected) in cases {
        let after = patched(&current, &patch, PatchType::Strategic).unwrap();
        assert_eq!(after.pointer(place), Some(&expected), "{patch}");
        assert!(
            !after.to_string().contains('$'),
            "no directive is left: {after}"
        );
    }
}

#[test]
fn a_strategic_patch_with_bad_directives_is_refused() {
    let current = json!({ "metadata": { "ownerReferences": [{ "uid": "1" }] } });
    let cases = [
        (
            json!({ "$patch": "burn" }),
            "400 unknown $patch directive \"burn\"; it is one of merge, replace, delete",
        ),
        (
            json!({ "$patch": 1 }),
            "400 $patch must be one of merge, replace, delete",
        ),
        (
            json!({ "$retainKeys": ["a"], "b": 1 }),
            "400 the patch sets \"b\" but $retainKeys does not list it",
        ),
        (
            json!({ "$retainKeys": "a" }),
            "400 $retainKeys must be a list of field names",
        ),
        (
            json!({ "$setElementOrder/x": 1 }),
            "400 $setElementOrder/x must be a list",
        ),
        (
            json!({ "metadata": { "ownerReferences": [{ "name": "x" }] } }),
            "400 an item of metadata.ownerReferences lacks the field \"uid\" that tells items apart",
        ),
        (
            json!({ "metadata": { "ownerReferences": ["x"] } }),
            "400 items of metadata.ownerReferences must be objects with the field \"uid\"",
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(refused(&current, &patch, PatchType::Strategic), expected);
    }
}
