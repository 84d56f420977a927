//! From an Instance and values to what the engine is asked for.

use std::collections::BTreeMap;

use clos_plan::container::{ContainerOptions, NetworkOptions, VolumeOptions};
use clos_plan::desired::{
    Unresolved, Values, container_name, desired, network_name, references, volume_names,
};
use clos_resources::{Instance, Port};
use serde_json::{Value, json};

use crate::world::{INSTALLATION, World, service};

fn instance(fields: Value) -> Instance {
    let mut world = World::new([service("web", fields)]);
    world.pass_service("web");
    world.instances.remove("web-0").unwrap()
}

/// Everything that is asked for.
#[derive(Debug)]
struct Desired {
    container: ContainerOptions,
    #[expect(dead_code, reason = "printed")]
    network: NetworkOptions,
    #[expect(dead_code, reason = "printed")]
    volumes: Vec<VolumeOptions>,
    #[expect(dead_code, reason = "printed")]
    claims: Vec<Port>,
}

fn resolve(fields: Value, values: &Values) -> Result<Desired, Unresolved> {
    let instance = instance(fields);
    let desired = desired(&instance, values, INSTALLATION)?;
    Ok(Desired {
        container: desired.container(),
        network: desired.network(),
        volumes: desired.volumes(),
        claims: desired.claims().to_vec(),
    })
}

fn values(secrets: Value) -> Values {
    let secrets: BTreeMap<String, Option<BTreeMap<String, Vec<u8>>>> =
        serde_json::from_value(secrets).unwrap();
    Values {
        config_maps: secrets.clone(),
        secrets,
        versions: None,
    }
}

fn refers(optional: bool) -> Value {
    json!({"env": [
        {"name": "PLAIN", "value": "1"},
        {"name": "EMPTY"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "password", "optional": optional}}},
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "modes", "key": "web", "optional": optional}}},
    ]})
}

#[test]
fn everything_declared_reaches_the_container() {
    let fields = json!({
        "command": ["/bin/web"], "args": ["-v"], "workingDir": "/srv", "user": "1000",
        "env": [{"name": "MODE", "value": "fast"}], "labels": {"team": "shop"},
        "mounts": [
            {"mountPath": "/data/", "volume": {"name": "data"}},
            {"mountPath": "/seed", "volume": {"name": "seed"}, "readOnly": true},
            {"mountPath": "/again", "volume": {"name": "data"}},
            {"mountPath": "/tmp", "tmpfs": {"size": "64Mi"}},
        ],
        "resources": {"limits": {"cpu": "0.5", "memory": "512Mi"}},
        "stopGracePeriod": "30s", "stopSignal": "SIGINT",
        "ports": [
            {"containerPort": 80, "hostPort": 8080, "hostIp": "0:0::1"},
            {"containerPort": 81, "hostPort": 8080, "protocol": "UDP"},
            {"containerPort": 82},
        ],
    });
    insta::assert_debug_snapshot!(resolve(fields, &Values::default()).unwrap());
}

#[test]
fn names_come_from_namespace_instance_group_and_volume() {
    let fields = json!({"mounts": [{"mountPath": "/b", "volume": {"name": "b"}}, {"mountPath": "/a", "volume": {"name": "a"}}]});
    let instance = instance(fields);
    assert_eq!(container_name(&instance), "clos_default_web-0");
    assert_eq!(network_name(&instance), "clos_default_shop");
    assert_eq!(
        volume_names(&instance),
        ["clos_default_a", "clos_default_b"]
    );
}

#[test]
fn values_are_looked_up_where_the_declaration_says() {
    let references = references(&instance(refers(false)).spec.container);
    assert_eq!(references.secrets.into_iter().collect::<Vec<_>>(), ["shop"]);
    assert_eq!(
        references.config_maps.into_iter().collect::<Vec<_>>(),
        ["modes"]
    );
    let values = values(json!({"shop": {"password": b"hunter2"}, "modes": {"web": b"fast"}}));
    let env = resolve(refers(false), &values).unwrap().container.env;
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| format!("{name}={}", value.expose()))
        .collect();
    assert_eq!(env, ["EMPTY=", "MODE=fast", "PASSWORD=hunter2", "PLAIN=1"]);
}

#[test]
fn i12_everything_that_is_missing_is_named_at_once() {
    let gone = resolve(refers(false), &values(json!({"shop": {}, "modes": null})))
        .unwrap_err()
        .summary();
    assert_eq!(gone.reason.as_str(), "ConfigMissing");
    assert_eq!(
        gone.message,
        "Secret shop has no key password (for PASSWORD); ConfigMap modes does not exist (for MODE)"
    );
}

#[test]
fn what_is_optional_is_left_out_when_it_is_missing() {
    let env = resolve(refers(true), &Values::default())
        .unwrap()
        .container
        .env;
    assert_eq!(env.keys().collect::<Vec<_>>(), ["EMPTY", "PLAIN"]);
}

#[test]
fn i9_a_value_that_cannot_be_used_is_named_and_not_shown() {
    for bytes in [vec![0xff, 0x42], b"hun\0ter2".to_vec()] {
        let values = values(json!({"shop": {"password": bytes}, "modes": {"web": b"fast"}}));
        let error = resolve(refers(false), &values).unwrap_err();
        assert_eq!(error.summary().reason.as_str(), "InvalidSpec");
        assert!(
            error.to_string().contains("PASSWORD") && !error.to_string().contains("hun"),
            "{error}"
        );
    }
}

#[test]
fn two_mounts_at_one_path_are_a_mistake() {
    let mounts = json!({"mounts": [{"mountPath": "/data", "tmpfs": {}}, {"mountPath": "/data/", "volume": {"name": "a"}}]});
    let error = resolve(mounts, &Values::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "two mounts are at /data; give each its own path"
    );
}

#[test]
fn the_digest_counts_values_and_not_who_asks() {
    let digest = |password: &str| {
        let values =
            values(json!({"shop": {"password": password.as_bytes()}, "modes": {"web": b"fast"}}));
        resolve(refers(false), &values).unwrap().container.labels["clos.dev/spec-digest"].clone()
    };
    assert_eq!(digest("a"), digest("a"));
    assert_ne!(digest("a"), digest("b"));
}
