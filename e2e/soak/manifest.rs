//! How what is declared is written: objects as JSON, which is YAML, too. What is declared is in `model`.

use clos_resources::names;
use serde_json::{Map, Value, json};

use crate::model::{GROUPS, Image, Model, Program, Service};

/// The kinds of the two objects with values.
pub(crate) const VALUES: [&str; 2] = ["Secret", "ConfigMap"];

/// The name of the two objects with values, and their key.
pub(crate) const VALUES_NAME: &str = "values";

/// What a run fills into declarations.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The namespace of the folder.
    pub(crate) namespace: String,
    /// The namespace that comes and goes.
    pub(crate) guests: String,
    /// The numbers of the ports.
    pub(crate) ports: Vec<u16>,
}

impl Image {
    /// Its name on the engine.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "clos-soak/busybox:one",
            Self::Two => "clos-soak/busybox:two",
            Self::Checked => "clos-soak/busybox:checked",
            Self::Missing => "clos-soak/busybox:missing",
        }
    }

    /// The instructions it is made with; none for the one that is not there.
    pub(crate) fn recipe(self) -> Option<&'static [&'static str]> {
        match self {
            Self::One => Some(&["ENV SOAK=one"]),
            Self::Two => Some(&["ENV SOAK=two"]),
            Self::Checked => {
                Some(&["HEALTHCHECK --interval=3s --timeout=10s --retries=3 CMD true"])
            }
            Self::Missing => None,
        }
    }
}

impl Program {
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Serve => "trap 'exit 0' TERM; while true; do sleep 3600 & wait $!; done",
            Self::Crash => "exit 3",
            Self::Job => "echo done",
            Self::FailedJob => "exit 4",
        }
    }

    fn restart_policy(self) -> &'static str {
        match self {
            Self::Serve | Self::Crash => "Always",
            Self::Job => "OnFailure",
            Self::FailedJob => "Never",
        }
    }
}

/// The value that a Secret or `ConfigMap` of this version holds.
pub(crate) fn value(which: usize, version: u32) -> String {
    format!("{}-{version}", VALUES[which].to_lowercase())
}

/// A Service as its author writes it.
pub(crate) fn service(names: &Names, slot: usize, service: &Service) -> Value {
    let mut spec = full_spec(names, service);
    if let Value::Object(spec) = &mut spec {
        if !service.says_all {
            spec.remove("replicas");
            spec.remove("state");
        }
        spec.retain(|_, value| !value.is_null());
    }
    object(
        "clos.dev/v1alpha1",
        "Service",
        &names.namespace,
        &Model::name(slot),
        ("spec", spec),
    )
}

/// Everything about a Service, with null for what it does not have: a merge patch that leaves nothing of what was there before.
pub(crate) fn full_spec(names: &Names, service: &Service) -> Value {
    let mut env = vec![json!({"name": "COLOUR", "value": service.colour.to_string()})];
    env.extend(service.reads.map(|which| {
        let source = ["secretKeyRef", "configMapKeyRef"][which];
        json!({"name": "READ", "valueFrom": {source: {"name": VALUES_NAME, "key": "value"}}})
    }));
    let ports = service
        .port
        .map(|port| json!([{"containerPort": 8080, "hostPort": names.ports[port]}]));
    let mounts = service
        .volume
        .then(|| json!([{"mountPath": "/data", "volume": {"name": "data"}}]));
    let depends_on = service
        .depends_on
        .map(|on| json!([{"service": Model::name(on), "condition": "Started"}]));
    json!({
        "group": GROUPS[service.group],
        "image": service.image.name(),
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", service.program.script()],
        "restartPolicy": service.program.restart_policy(),
        "replicas": service.replicas,
        "state": if service.stopped { "Stopped" } else { "Running" },
        "stopGracePeriod": "1s",
        "env": env,
        "labels": {"soak": service.label.to_string()},
        "resources": {"limits": {"memory": format!("{}Mi", service.memory)}},
        "ports": ports,
        "mounts": mounts,
        "dependsOn": depends_on,
    })
}

/// A Group.
pub(crate) fn group(names: &Names, model: &Model, group: usize) -> Value {
    let state = if model.stopped[group] {
        "Stopped"
    } else {
        "Running"
    };
    object(
        "clos.dev/v1alpha1",
        "Group",
        &names.namespace,
        GROUPS[group],
        ("spec", json!({"state": state})),
    )
}

/// A Secret or `ConfigMap`.
pub(crate) fn values(names: &Names, which: usize, version: u32) -> Value {
    let field = ["stringData", "data"][which];
    object(
        "v1",
        VALUES[which],
        &names.namespace,
        VALUES_NAME,
        (field, json!({"value": value(which, version)})),
    )
}

/// The objects of the namespace that comes and goes, in the order they are made.
pub(crate) fn guests(names: &Names, count: usize) -> Vec<Value> {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names.guests}});
    let group = object(
        "clos.dev/v1alpha1",
        "Group",
        &names.guests,
        "guests",
        ("spec", json!({})),
    );
    let services = (0..count).map(|number| {
        let mut spec = full_spec(names, &Service::plain(0));
        spec["group"] = json!("guests");
        if let Value::Object(spec) = &mut spec {
            spec.retain(|_, value| !value.is_null());
        }
        object(
            "clos.dev/v1alpha1",
            "Service",
            &names.guests,
            &format!("g{number}"),
            ("spec", spec),
        )
    });
    [namespace, group].into_iter().chain(services).collect()
}

/// The name of the container of a service's replica.
pub(crate) fn container(names: &Names, slot: usize, ordinal: u32) -> String {
    names::container(
        &names.namespace,
        &names::instance(&Model::name(slot), ordinal),
    )
}

fn object(
    version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    (field, content): (&str, Value),
) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!(version));
    object.insert("kind".to_owned(), json!(kind));
    object.insert(
        "metadata".to_owned(),
        json!({"name": name, "namespace": namespace}),
    );
    object.insert(field.to_owned(), content);
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            namespace: "ns".to_owned(),
            guests: "ns-g".to_owned(),
            ports: vec![2001, 2002, 2003, 2004],
        }
    }

    #[test]
    fn what_is_left_to_people_is_not_declared() {
        let left = Service {
            says_all: false,
            ..Service::plain(0)
        };
        let written = service(&names(), 0, &left);
        assert!(
            written["spec"].get("replicas").is_none() && written["spec"].get("state").is_none()
        );
        assert_eq!(
            service(&names(), 0, &Service::plain(0))["spec"]["replicas"],
            1
        );
    }

    #[test]
    fn a_declaration_has_what_the_service_has_and_no_nulls() {
        let full = Service {
            port: Some(1),
            reads: Some(0),
            depends_on: Some(2),
            volume: true,
            ..Service::plain(1)
        };
        let written = service(&names(), 3, &full);
        assert_eq!(written["spec"]["ports"][0]["hostPort"], 2002);
        assert_eq!(written["spec"]["dependsOn"][0]["service"], "s2");
        assert_eq!(
            written["spec"]["env"][1]["valueFrom"]["secretKeyRef"]["name"],
            VALUES_NAME
        );
        assert!(
            !service(&names(), 0, &Service::plain(0))
                .to_string()
                .contains("null")
        );
        assert!(full_spec(&names(), &Service::plain(0))["ports"].is_null());
    }

    #[test]
    fn guests_come_after_their_namespace_and_group() {
        let kinds: Vec<String> = guests(&names(), 2)
            .iter()
            .map(|object| object["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds, ["Namespace", "Group", "Service", "Service"]);
    }
}
