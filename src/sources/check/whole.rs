//! What is wrong with a set although each of its objects could be right: circles of dependencies, a host port that is wanted twice, a
//! group that nobody declares. The API judges one object at a time and cannot see it.

use std::collections::{BTreeMap, BTreeSet};

use clos_resources::API_GROUP;
use clos_resources::dependencies::{self, Graph};
use kube::Client;
use serde_json::Value;

use crate::manifest::{Declared, Mistake};
use crate::observe::{ObserveError, missing};
use crate::set::{DesiredSet, ObjectKey};

/// What can be seen in the set alone.
pub(super) fn mistakes(desired: &DesiredSet) -> Vec<Mistake> {
    let mut mistakes = circles(desired);
    mistakes.extend(ports_wanted_twice(desired));
    mistakes
}

/// Services of groups that are neither declared nor there.
pub(super) async fn missing_groups(
    client: &Client,
    desired: &DesiredSet,
) -> Result<Vec<Mistake>, ObserveError> {
    let Some(kind) = desired.kinds.of_group(API_GROUP, "Group") else {
        return Ok(Vec::new());
    };
    let group_of = |key: &ObjectKey, declared: &Declared| {
        let group = declared.value["spec"]["group"].as_str()?;
        Some(ObjectKey::new(
            API_GROUP,
            "Group",
            key.namespace.as_deref(),
            group,
        ))
    };
    let named: BTreeSet<ObjectKey> = services(desired)
        .filter_map(|(key, declared)| group_of(key, declared))
        .filter(|group| !desired.objects.contains_key(group))
        .collect();
    let missing = missing(client, kind, named).await?;
    let of_missing = services(desired).filter_map(|(key, declared)| {
        let group = group_of(key, declared).filter(|group| missing.contains(group))?;
        let message = format!(
            "there is no group \"{}\"; declare it as a Group, or name one that is there",
            group.name
        );
        Some(declared.mistake("spec.group", message))
    });
    Ok(of_missing.collect())
}

fn services(desired: &DesiredSet) -> impl Iterator<Item = (&ObjectKey, &Declared)> {
    desired
        .objects
        .iter()
        .filter(|(key, _)| key.group == API_GROUP && key.kind == "Service")
        .map(|(key, wanted)| (key, &wanted.declared))
}

fn circles(desired: &DesiredSet) -> Vec<Mistake> {
    let mut groups: BTreeMap<_, BTreeMap<&str, &Declared>> = BTreeMap::new();
    for (key, declared) in services(desired) {
        if let Some(group) = declared.value["spec"]["group"].as_str() {
            let members = groups.entry((&key.namespace, group)).or_default();
            members.insert(&key.name, declared);
        }
    }
    let mut mistakes = Vec::new();
    for members in groups.values() {
        let graph: Graph<'_> = members
            .iter()
            .map(|(&name, declared)| {
                let others = items(declared, "dependsOn")
                    .filter_map(|dependency| dependency["service"].as_str())
                    .filter(|other| members.contains_key(other));
                (name, others.collect())
            })
            .collect();
        for (name, sentence) in dependencies::cycles(graph) {
            if let Some(declared) = members.get(name.as_str()) {
                mistakes.push(declared.mistake("spec.dependsOn", sentence));
            }
        }
    }
    mistakes
}

fn ports_wanted_twice(desired: &DesiredSet) -> Vec<Mistake> {
    let mut wanted: BTreeMap<(&str, u64), &Declared> = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (_, declared) in services(desired).filter(|(_, declared)| is_to_run(declared)) {
        for (index, port) in items(declared, "ports").enumerate() {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            let Some(number) = number(&port["hostPort"]) else {
                continue;
            };
            let first = *wanted.entry((protocol, number)).or_insert(declared);
            if !std::ptr::eq(first, declared) {
                let message = format!(
                    "{number} is wanted by Service {}, too, in {}; give one of the two another hostPort",
                    first.name(),
                    first.place()
                );
                mistakes.push(declared.mistake(&format!("spec.ports[{index}].hostPort"), message));
            }
        }
    }
    mistakes
}

/// One that is stopped holds no port.
fn is_to_run(declared: &Declared) -> bool {
    let spec = &declared.value["spec"];
    spec["state"] != "Stopped" && spec["replicas"] != 0
}

fn items<'a>(declared: &'a Declared, field: &str) -> impl Iterator<Item = &'a Value> {
    declared.value["spec"][field]
        .as_array()
        .into_iter()
        .flatten()
}

/// A port as users write it: a number, in quotes or not.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::kinds::Kinds;
    use crate::manifest::{Manifests, Mistakes};

    fn found(text: &str) -> String {
        let mut manifests = Manifests::default();
        manifests.read(Path::new("shop.yaml"), text.as_bytes());
        let kinds = Kinds::from([("clos.dev", "Service", "services", true)]);
        let set = DesiredSet::new(manifests, kinds);
        assert_eq!(set.mistakes, []);
        Mistakes::new(mistakes(&set)).map_or_else(String::new, |found| found.to_string())
    }

    fn service(name: &str, spec: &str) -> String {
        format!(
            "---\napiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  image: a\n{spec}\n"
        )
    }

    #[test]
    fn i12_circles_and_ports_that_are_wanted_twice_are_told_with_their_places() {
        let text = [
            service("a", "  group: shop\n  dependsOn: [{ service: b }]"),
            service(
                "b",
                "  group: shop\n  dependsOn: [{ service: a }, { service: elsewhere }]",
            ),
            service(
                "c",
                "  group: shop\n  ports: [{ containerPort: 80, hostPort: 8080 }]",
            ),
            service(
                "d",
                "  group: shop\n  ports:\n  - { containerPort: 1 }\n  - { containerPort: 80, hostPort: '8080' }",
            ),
        ];
        insta::assert_snapshot!(found(&text.concat()));
    }

    #[test]
    fn what_only_looks_alike_is_no_mistake() {
        let text = [
            service("a", "  group: shop\n  dependsOn: [{ service: b }]"),
            service("b", "  group: lab\n  dependsOn: [{ service: a }]"),
            service(
                "c",
                "  group: shop\n  ports: [{ containerPort: 53, hostPort: 53 }, { containerPort: 53, hostPort: 53, protocol: UDP }]",
            ),
            service(
                "d",
                "  group: shop\n  state: Stopped\n  ports: [{ containerPort: 80, hostPort: 53 }]",
            ),
            service(
                "e",
                "  group: shop\n  ports: [{ containerPort: 80, hostPort: auto }]",
            ),
            service(
                "f",
                "  group: shop\n  ports: [{ containerPort: 80, hostPort: auto }]",
            ),
        ];
        assert_eq!(found(&text.concat()), "");
    }
}
