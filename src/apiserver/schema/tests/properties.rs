//! What holds for any schema and any object.

use super::*;

/// Any JSON, nested a little.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..200).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let name = prop_oneof![
            Just("spec"),
            Just("image"),
            Just("replicas"),
            Just("env"),
            Just("update"),
            Just("strategy"),
            Just("ports"),
            Just("containerPort"),
            Just("hostPort"),
            Just("protocol"),
            Just("tags"),
            Just("extra"),
            Just("note"),
            Just("metadata"),
            Just("type"),
            Just("properties"),
            Just("items"),
            Just("default"),
            Just("enum"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Objects that fit the service's schema more often than not.
fn likely_service() -> impl Strategy<Value = Value> {
    let port = (prop::option::of(1_i64..5), prop::option::of(any_json()), prop::option::of("[A-Z]{3}")).prop_map(
        |(container, host, protocol)| json!({ "containerPort": container, "hostPort": host, "protocol": protocol }),
    );
    let ports = prop::collection::vec(port, 0..4);
    (any_json(), ports, prop::option::of("[a-z]{0,4}"), any_json(), prop::option::of(0_i64..120)).prop_map(
        |(env, ports, image, other, replicas)| {
            json!({ "spec": { "env": env, "ports": ports, "image": image, "update": other, "replicas": replicas } })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn admitting_an_admitted_object_changes_and_finds_nothing_new(object in prop_oneof![any_json(), likely_service()]) {
        let schema = service();
        let (once, found) = admitted(&schema, object);
        let (twice, found_again) = admitted(&schema, once.clone());
        prop_assert_eq!(&once, &twice);
        let mistakes: Vec<&String> = found.iter().filter(|line| !line.starts_with("unknown")).collect();
        prop_assert_eq!(mistakes, found_again.iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_json_as_a_schema_compiles_or_says_why(document in any_json(), object in any_json()) {
        if let Ok(schema) = Schema::compile(&document) {
            admitted(&schema, object);
        }
    }

    #[test]
    fn whole_numbers_pass_a_bound_as_arithmetic_says(value in -200_i64..200, minimum in -100_i64..100, maximum in -100_i64..100) {
        let node = json!({ "type": "integer", "minimum": minimum, "maximum": maximum });
        prop_assert_eq!(found(&node, &json!(value)).is_empty(), (minimum..=maximum).contains(&value));
    }
}
