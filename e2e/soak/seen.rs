//! What the world looks like: containers, networks, volumes and objects, as plain data. Looking is in `observe`, judging in `check`.

use std::collections::{BTreeMap, BTreeSet};

use clos_resources::names;
use serde_json::Value;

/// Everything that is looked at, of one installation, without what was made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) containers: Vec<Container>,
    /// Networks' names.
    pub(crate) networks: BTreeSet<String>,
    /// Volumes' names.
    pub(crate) volumes: BTreeSet<String>,
    /// Services by namespace and name.
    pub(crate) services: BTreeMap<(String, String), Service>,
    /// Instances' UIDs by namespace and name.
    pub(crate) instances: BTreeMap<(String, String), String>,
    /// Held ports and who holds them: namespace and Instance.
    pub(crate) held: BTreeMap<u16, (String, String)>,
    /// Ports of the run that answer; none where nobody can try, because the engine has a network of its own.
    pub(crate) answering: Option<BTreeSet<u16>>,
}

/// A container of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) instance: String,
    pub(crate) uid: String,
    pub(crate) running: bool,
    pub(crate) paused: bool,
    pub(crate) image: String,
    pub(crate) env: BTreeSet<String>,
    pub(crate) label: String,
    pub(crate) script: String,
    pub(crate) memory: u64,
    pub(crate) published: BTreeSet<u16>,
    pub(crate) networks: BTreeSet<String>,
    pub(crate) volumes: BTreeSet<String>,
    /// As the engine writes it, in UTC.
    pub(crate) started_at: String,
}

/// A Service's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) ready: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) counts: String,
    /// Whether the status speaks of the newest declaration.
    pub(crate) current: bool,
}

impl Container {
    /// What `docker inspect` says.
    pub(crate) fn of(inspected: &Value) -> Self {
        let labels = &inspected["Config"]["Labels"];
        let ports = inspected["NetworkSettings"]["Ports"].as_object();
        let published = ports
            .into_iter()
            .flatten()
            .flat_map(|(_, bindings)| bindings.as_array().cloned().unwrap_or_default());
        let keys = |value: &Value| {
            value
                .as_object()
                .map(|object| object.keys().cloned().collect())
                .unwrap_or_default()
        };
        let mounts = inspected["Mounts"].as_array().cloned().unwrap_or_default();
        Self {
            name: text(&inspected["Name"]).trim_start_matches('/').to_owned(),
            namespace: text(&labels[names::LABEL_NAMESPACE]),
            instance: text(&labels[names::LABEL_INSTANCE]),
            uid: text(&labels[names::LABEL_INSTANCE_UID]),
            running: inspected["State"]["Running"] == true,
            paused: inspected["State"]["Paused"] == true,
            image: text(&inspected["Config"]["Image"]),
            env: strings(&inspected["Config"]["Env"]).into_iter().collect(),
            label: text(&labels["soak"]),
            script: strings(&inspected["Config"]["Entrypoint"])
                .pop()
                .unwrap_or_default(),
            memory: inspected["HostConfig"]["Memory"]
                .as_u64()
                .unwrap_or_default(),
            published: published
                .filter_map(|binding| binding["HostPort"].as_str()?.parse().ok())
                .collect(),
            networks: keys(&inspected["NetworkSettings"]["Networks"]),
            volumes: mounts
                .iter()
                .filter(|mount| mount["Type"] == "volume")
                .map(|mount| text(&mount["Name"]))
                .collect(),
            started_at: text(&inspected["State"]["StartedAt"]),
        }
    }
}

impl Service {
    /// What the object's status says.
    pub(crate) fn of(object: &Value) -> Self {
        let status = &object["status"];
        let conditions = status["conditions"].as_array();
        let ready =
            conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
        let of = |field: &str| ready.map(|ready| text(&ready[field])).unwrap_or_default();
        Self {
            ready: of("status"),
            reason: of("reason"),
            message: of("message"),
            counts: text(&status["ready"]),
            current: status["observedGeneration"] == object["metadata"]["generation"]
                && object["metadata"]["deletionTimestamp"].is_null(),
        }
    }
}

/// The namespace and name of an object.
pub(crate) fn key(object: &Value) -> (String, String) {
    (
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"]),
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_read_from_what_the_engine_says() {
        let inspected = json!({
            "Name": "/clos_ns_s0-0",
            "State": {"Running": true, "Paused": false, "StartedAt": "2026-01-01T00:00:00.5Z"},
            "Config": {"Image": "i", "Env": ["A=1"], "Entrypoint": ["sh", "-c", "run"], "Labels": {"clos.dev/instance": "s0-0", "soak": "3"}},
            "HostConfig": {"Memory": 1024},
            "Mounts": [{"Type": "volume", "Name": "v"}, {"Type": "tmpfs"}],
            "NetworkSettings": {"Networks": {"n": {}}, "Ports": {"80/tcp": [{"HostPort": "2001"}], "81/tcp": null}},
        });
        let container = Container::of(&inspected);
        assert_eq!(
            (
                container.name.as_str(),
                container.instance.as_str(),
                container.label.as_str()
            ),
            ("clos_ns_s0-0", "s0-0", "3")
        );
        assert_eq!((container.script.as_str(), container.memory), ("run", 1024));
        assert_eq!(container.published, [2001].into());
        assert_eq!(container.volumes, ["v".to_owned()].into());
    }

    #[test]
    fn a_status_of_an_older_declaration_is_not_current() {
        let object = |observed: u64| {
            json!({"metadata": {"generation": 2}, "status": {"observedGeneration": observed,
            "conditions": [{"type": "Stalled"}, {"type": "Ready", "status": "True", "reason": "Ready"}]}})
        };
        assert!(!Service::of(&object(1)).current);
        let current = Service::of(&object(2));
        assert!(current.current);
        assert_eq!(
            (current.ready.as_str(), current.reason.as_str()),
            ("True", "Ready")
        );
    }
}
