//! Planning: three-way changes as a property, ownership, and the guards against pruning too much.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fields::{Fields, difference};
use super::*;
use crate::kinds::Kinds;
use crate::manifest::Manifests;

fn set(names: impl IntoIterator<Item = String>) -> DesiredSet {
    let object = |name: String| {
        let head = "apiVersion: clos.dev/v1alpha1\nkind: Service\n";
        format!("{head}metadata: {{ name: {name} }}\nspec: {{ image: a, group: g }}\n")
    };
    let text = names
        .into_iter()
        .map(object)
        .collect::<Vec<_>>()
        .join("---\n");
    from_text(&text)
}

fn from_text(text: &str) -> DesiredSet {
    let mut manifests = Manifests::default();
    manifests.read(Path::new("a.yaml"), text.as_bytes());
    let kinds = Kinds::from([
        ("", "Namespace", "namespaces", false),
        ("", "Secret", "secrets", true),
        ("clos.dev", "Service", "services", true),
    ]);
    DesiredSet::new(manifests, kinds)
}

fn options() -> SyncOptions {
    SyncOptions {
        source: Some("shop".to_owned()),
        prune: true,
    }
}

/// The plan after a person has confirmed what it holds back.
fn confirmed(desired: &DesiredSet, mut observed: Observed) -> SyncPlan {
    if let Err(Refusal::Empty(held) | Refusal::Many(held)) =
        plan_sync(desired, &observed, &options())
    {
        observed.confirmed = Some(held.token);
    }
    plan_sync(desired, &observed, &options()).unwrap()
}

/// What the API holds after a plan was carried out on it.
fn carried_out(plan: &SyncPlan, mut observed: Observed) -> Observed {
    for action in &plan.actions {
        let uid = format!("uid of {}", action.key);
        match &action.step {
            Step::Create(object) => {
                let mut object = object.clone();
                object["metadata"]["uid"] = json!(uid);
                observed.live.insert(action.key.clone(), object);
                observed.inventory.0.insert(action.key.clone(), uid);
            }
            Step::Patch(patch) => {
                json_patch::merge(observed.live.get_mut(&action.key).unwrap(), patch);
            }
            Step::Prune { .. } => {
                observed.live.remove(&action.key);
                observed.inventory.0.remove(&action.key);
            }
            Step::Release(patch) => {
                json_patch::merge(observed.live.get_mut(&action.key).unwrap(), patch);
                observed.inventory.0.remove(&action.key);
            }
        }
    }
    observed
}

fn synced(desired: &DesiredSet) -> Observed {
    carried_out(
        &plan_sync(desired, &Observed::default(), &options()).unwrap(),
        Observed::default(),
    )
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("s{number}"))
}

fn lines(plan: &SyncPlan) -> Vec<String> {
    plan.actions.iter().map(ToString::to_string).collect()
}

#[test]
fn i6_a_plan_that_was_carried_out_leaves_nothing_to_do() {
    let desired = set(names(3));
    let plan = plan_sync(&desired, &synced(&desired), &options()).unwrap();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.unchanged.len(), 3);
}

#[test]
fn i8_an_empty_set_prunes_nothing_unless_that_is_confirmed() {
    let observed = synced(&set(names(2)));
    let nothing = set([]);
    let Err(Refusal::Empty(held)) = plan_sync(&nothing, &observed, &options()) else {
        panic!("it is held back")
    };
    assert_eq!(held.names, ["Service default/s0", "Service default/s1"]);
    assert_eq!(lines(&confirmed(&nothing, observed)).len(), 2);
}

#[test]
fn i8_more_than_a_quarter_goes_only_when_confirmed() {
    let observed = synced(&set(names(20)));
    assert_eq!(
        plan_sync(&set(names(15)), &observed, &options())
            .unwrap()
            .actions
            .len(),
        5
    );
    let Err(Refusal::Many(held)) = plan_sync(&set(names(14)), &observed, &options()) else {
        panic!("it is held back")
    };
    assert_eq!((held.count, held.of), (6, 20));
    assert_eq!(
        confirmed(&set(names(14)), observed.clone()).actions.len(),
        6
    );
    let another = Observed {
        confirmed: Some(held.token),
        ..observed
    };
    assert!(
        plan_sync(&set(names(13)), &another, &options()).is_err(),
        "seven are not the six that were confirmed"
    );
    let few = synced(&set(names(6)));
    assert_eq!(
        plan_sync(&set(names(2)), &few, &options())
            .unwrap()
            .actions
            .len(),
        4
    );
}

#[test]
fn i1_only_what_is_in_the_inventory_with_its_uid_and_our_label_is_pruned() {
    let mut observed = synced(&set(names(4)));
    let key = |name: &str| ObjectKey::new("clos.dev", "Service", Some("default"), name);
    observed.live.get_mut(&key("s1")).unwrap()["metadata"]["uid"] = json!("made anew by somebody");
    observed.live.get_mut(&key("s2")).unwrap()["metadata"]["labels"][LABEL_SOURCE] = json!("other");
    let copy = observed.live[&key("s3")].clone();
    observed.live.insert(key("copy"), copy);
    let plan = plan_sync(&set(["s0".to_owned()]), &observed, &options()).unwrap();
    assert_eq!(
        lines(&plan),
        ["delete Service default/s3: is no longer declared"]
    );
}

#[test]
fn things_go_in_the_reverse_order_and_what_holds_others_stays() {
    let text = "\
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Secret
metadata: { name: key, namespace: shop }
stringData: { password: hunter2 }
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
";
    let observed = synced(&from_text(text));
    let plan = plan_sync(&set(["s".to_owned()]), &observed, &options()).unwrap();
    insta::assert_snapshot!(lines(&plan).join("\n"));
    assert!(
        !format!("{:?}", observed.live).contains("hunter2"),
        "only the server's encoding holds it"
    );
}

#[test]
fn an_object_of_another_source_is_a_mistake_that_names_it() {
    let desired = set(["web".to_owned()]);
    let mut observed = synced(&desired);
    observed.live.first_entry().unwrap().get_mut()["metadata"]["labels"][LABEL_SOURCE] =
        json!("other");
    observed.inventory.0.insert(
        ObjectKey::new("clos.dev", "Service", Some("default"), "old"),
        "u".to_owned(),
    );
    for options in [options(), SyncOptions::default()] {
        let plan = plan_sync(&desired, &observed, &options).unwrap();
        let said = "a.yaml:1: Service web: is applied by the source \"other\" already; change it there, or take it out there first";
        assert_eq!(plan.conflicts[0].to_string(), said);
        assert_eq!(plan.actions, []);
    }
}

#[test]
fn i8_a_set_with_mistakes_prunes_nothing() {
    let observed = synced(&set(names(3)));
    let mut desired = set(names(2));
    assert_eq!(
        plan_sync(&desired, &observed, &options())
            .unwrap()
            .actions
            .len(),
        1
    );
    desired
        .mistakes
        .push(Mistake::of_file("b.yaml", "cannot be read"));
    assert_eq!(
        plan_sync(&desired, &observed, &options()).unwrap().actions,
        []
    );
}

#[test]
fn an_object_made_by_hand_is_taken_over_and_keeps_what_is_not_declared() {
    let desired = set(["web".to_owned()]);
    let key = desired.objects.keys().next().unwrap().clone();
    let live = json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"team": "a"}},
        "spec": {"image": "old", "group": "g", "replicas": 3}});
    let observed = Observed {
        live: BTreeMap::from([(key.clone(), live)]),
        ..Observed::default()
    };
    let plan = plan_sync(&desired, &observed, &options()).unwrap();
    assert_eq!(
        lines(&plan),
        [
            "change Service default/web: was made by hand and is taken over; spec.image is not as declared"
        ]
    );
    let after = carried_out(&plan, observed);
    assert_eq!(
        after.live[&key]["spec"],
        json!({"image": "a", "group": "g", "replicas": 3})
    );
    assert_eq!(
        after.live[&key]["metadata"]["labels"],
        json!({"team": "a", "clos.dev/source": "shop"})
    );
}

#[test]
fn an_object_on_its_way_out_is_waited_for() {
    let desired = set(["web".to_owned()]);
    let mut observed = synced(&desired);
    observed.live.first_entry().unwrap().get_mut()["metadata"]["deletionTimestamp"] =
        json!("2026-01-01T00:00:00Z");
    let plan = plan_sync(&desired, &observed, &options()).unwrap();
    assert_eq!((plan.actions.len(), plan.leaving.len()), (0, 1));
}

/// Applies a declaration to an object the way a plan does.
fn applied(declared: &Value, live: &mut Value) -> bool {
    match change(declared, live, Some("shop")) {
        Some((patch, _)) => {
            json_patch::merge(live, &patch);
            true
        }
        None => false,
    }
}

#[test]
fn fields_that_others_set_stay_and_fields_declared_no_more_go() {
    let mut live = marked(
        &json!({"spec": {"image": "a", "update": {"strategy": "StopFirst"}, "ports": [{"name": "x", "containerPort": 80}]}}),
        Some("shop"),
    );
    live["spec"]["replicas"] = json!(5);
    live["spec"]["ports"][0]["protocol"] = json!("TCP");
    live["spec"]["update"]["onFailure"] = json!("Pause");
    assert!(
        !applied(
            &json!({"spec": {"image": "a", "update": {"strategy": "StopFirst"}, "ports": [{"name": "x", "containerPort": 80}]}}),
            &mut live.clone()
        ),
        "defaults in items are no drift"
    );
    // A field taken out of an item replaces the list; a mapping that is declared no more goes with all that is in it.
    assert!(applied(
        &json!({"spec": {"image": "a", "ports": [{"containerPort": 80}]}}),
        &mut live
    ));
    assert_eq!(
        live["spec"],
        json!({"image": "a", "replicas": 5, "ports": [{"containerPort": 80}]})
    );
}

#[test]
fn labels_of_others_stay_when_the_manifest_declares_none_any_more() {
    let mut live = marked(&json!({"metadata": {"labels": {"a": "1"}}}), Some("shop"));
    live["metadata"]["labels"]["theirs"] = json!("2");
    applied(&json!({"metadata": {}}), &mut live);
    assert_eq!(
        live["metadata"]["labels"],
        json!({"theirs": "2", "clos.dev/source": "shop"})
    );
}

/// Small trees of few names, so that two of them overlap.
fn declared() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (0..3i32).prop_map(Value::from),
        "[xy]".prop_map(Value::from)
    ];
    let inner = leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    });
    prop::collection::btree_map("[abc]", inner, 0..4)
        .prop_map(|fields| json!({ "metadata": {}, "spec": fields }))
}

/// Adds foreign fields, whose names no declaration uses, to every mapping outside of lists.
fn with_foreign_fields(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(with_foreign_fields);
        fields.insert("foreign".to_owned(), json!("theirs"));
    }
}

fn without_foreign_fields(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.remove("foreign");
        fields.values_mut().for_each(without_foreign_fields);
    }
}

/// Whether every mapping that both declarations have still holds its foreign field.
fn keeps_foreign_fields(a: &Map<String, Value>, b: &Map<String, Value>, live: &Value) -> bool {
    live["foreign"] == json!("theirs")
        && a.iter().all(|(name, a)| match (a, b.get(name)) {
            (Value::Object(a), Some(Value::Object(b))) => keeps_foreign_fields(a, b, &live[name]),
            _ => true,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn applying_b_after_a_gives_the_fields_of_b_and_leaves_those_of_others(a in declared(), b in declared()) {
        let mut live = marked(&a, Some("shop"));
        with_foreign_fields(&mut live["spec"]);
        applied(&b, &mut live);
        let (spec_a, spec_b) = (a["spec"].as_object().unwrap(), b["spec"].as_object().unwrap());
        prop_assert!(keeps_foreign_fields(spec_a, spec_b, &live["spec"]), "{live}");
        let mut ours = live["spec"].clone();
        without_foreign_fields(&mut ours);
        prop_assert_eq!(&ours, &b["spec"]);
        prop_assert_eq!(Fields::applied_to(&live), Fields::of(&b));
        // I6: a second time there is nothing to do.
        prop_assert!(!applied(&b, &mut live));
    }

    #[test]
    fn a_crash_between_any_two_steps_is_made_up_for(before in 0..6usize, after in 0..6usize, steps in 0..12usize) {
        let observed = synced(&set(names(before)));
        let desired = set((0..after).map(|number| format!("s{}", number + 3)));
        let mut cut = confirmed(&desired, observed.clone());
        cut.actions.truncate(steps);
        let halfway = carried_out(&cut, observed);
        let again = carried_out(&confirmed(&desired, halfway.clone()), halfway);
        prop_assert!(again.live.keys().eq(desired.objects.keys()));
        prop_assert_eq!(confirmed(&desired, again).actions, []);
    }

    #[test]
    fn what_is_declared_differs_from_nothing_when_it_is_there(a in declared()) {
        let found = difference(&Fields::of(&a), &a, &a);
        prop_assert!(found.patch.is_empty() && found.changed.is_empty() && found.removed.is_empty());
    }
}
