//! What `clos down` removes, keeps, and waits for: pure, from objects to lists and text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clos_resources::conditions::ready;
use clos_resources::names::{self, LABEL_SOURCE};
use clos_resources::{Group, Instance, Service};
use kube::ResourceExt;

/// Which groups are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// All of all namespaces.
    All,
    /// These of one namespace.
    Named {
        /// The namespace.
        namespace: &'a str,
        /// Their names.
        groups: &'a [String],
    },
}

/// An object that goes: it, and not a later one of its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Going {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Its UID.
    pub(super) uid: String,
}

impl Going {
    fn of(object: &impl ResourceExt) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        }
    }

    fn shown(&self) -> String {
        shown(&self.namespace, &self.name)
    }
}

/// Everything that goes, and what stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Removal {
    /// Groups, each with its network.
    pub(super) groups: BTreeSet<Going>,
    /// Services.
    pub(super) services: BTreeSet<Going>,
    /// The names of the containers of each Service, by the Service's UID.
    containers: BTreeMap<String, BTreeSet<String>>,
    /// The volumes that only these Services declare, by their names on the host.
    pub(super) volumes: BTreeSet<String>,
    /// Volumes that other Services declare, too, with the name of one.
    pub(super) shared: BTreeMap<String, String>,
    /// The sources that declare some of it.
    sources: BTreeSet<String>,
}

/// What is removed when these groups are.
pub(super) fn removal(
    wanted: Wanted<'_>,
    groups: &[Group],
    services: &[Service],
    instances: &[Instance],
) -> Result<Removal, String> {
    let is_wanted = |namespace: Option<String>, group: &str| match wanted {
        Wanted::All => true,
        Wanted::Named {
            namespace: of,
            groups,
        } => namespace.as_deref() == Some(of) && groups.iter().any(|name| name == group),
    };
    let going_groups: Vec<&Group> = groups
        .iter()
        .filter(|group| is_wanted(group.namespace(), &group.name_any()))
        .collect();
    let (going, staying): (Vec<&Service>, Vec<&Service>) = services
        .iter()
        .partition(|service| is_wanted(service.namespace(), &service.spec.group));
    if let Wanted::Named {
        namespace,
        groups: names,
    } = wanted
    {
        let known = |name: &&String| {
            going_groups.iter().any(|group| group.name_any() == **name)
                || going.iter().any(|service| service.spec.group == **name)
        };
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            let here = groups
                .iter()
                .filter(|group| group.namespace().as_deref() == Some(namespace))
                .map(ResourceExt::name_any);
            let there_are = here.collect::<Vec<_>>().join(", ");
            let there_are = if there_are.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {there_are}")
            };
            return Err(format!(
                "there is no group {unknown} in the namespace {namespace}; {there_are}. Nothing was removed"
            ));
        }
    }
    let mut removal = Removal {
        groups: going_groups.iter().map(|group| Going::of(*group)).collect(),
        services: going.iter().map(|service| Going::of(*service)).collect(),
        ..Removal::default()
    };
    for service in &going {
        let uid = service.uid().unwrap_or_default();
        let owned = instances
            .iter()
            .filter(|instance| is_owned_by(instance, &uid));
        let containers = owned
            .map(|instance| {
                names::container(
                    &instance.namespace().unwrap_or_default(),
                    &instance.name_any(),
                )
            })
            .collect();
        removal.containers.insert(uid, containers);
        for volume in volumes(service) {
            match staying
                .iter()
                .find(|other| volumes(other).contains(&volume))
            {
                Some(other) => drop(removal.shared.insert(volume, Going::of(*other).shown())),
                None => drop(removal.volumes.insert(volume)),
            }
        }
    }
    let labels = going_groups
        .iter()
        .map(|group| group.labels())
        .chain(going.iter().map(|service| service.labels()));
    removal.sources = labels
        .filter_map(|labels| labels.get(LABEL_SOURCE).cloned())
        .collect();
    Ok(removal)
}

/// The volumes that a Service declares, by their names on the host.
fn volumes(service: &Service) -> BTreeSet<String> {
    let namespace = service.namespace().unwrap_or_default();
    let named = service
        .spec
        .container
        .mounts
        .iter()
        .filter_map(|mount| mount.volume.as_ref());
    named
        .map(|volume| names::volume(&namespace, &volume.name))
        .collect()
}

fn is_owned_by(instance: &Instance, uid: &str) -> bool {
    instance
        .owner_references()
        .iter()
        .any(|owner| owner.uid == uid)
}

fn shown(namespace: &str, name: &str) -> String {
    match namespace {
        "default" => name.to_owned(),
        namespace => format!("{namespace}/{name}"),
    }
}

impl Removal {
    /// Whether there is nothing to remove.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.services.is_empty()
    }

    /// What is said before anybody is asked.
    pub(super) fn announce(&self, with_volumes: bool) -> String {
        let mut text = "This is removed:\n".to_owned();
        for group in &self.groups {
            let _ = writeln!(
                text,
                "  group {} with its network {}",
                group.shown(),
                names::network(&group.namespace, &group.name)
            );
        }
        for service in &self.services {
            let containers: Vec<&str> = self
                .containers
                .get(&service.uid)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
            let noun = if containers.len() == 1 {
                "its container"
            } else {
                "its containers"
            };
            let with = if containers.is_empty() {
                String::new()
            } else {
                format!(" with {noun} {}", containers.join(", "))
            };
            let _ = writeln!(text, "  service {}{with}", service.shown());
        }
        let volumes = join(&self.volumes);
        if with_volumes && !self.volumes.is_empty() {
            let _ = writeln!(text, "  with everything in them, the volumes {volumes}");
        } else if !self.volumes.is_empty() {
            let _ = writeln!(
                text,
                "These volumes stay, --volumes would remove them: {volumes}"
            );
        }
        for (volume, service) in &self.shared {
            let _ = writeln!(
                text,
                "The volume {volume} stays: service {service} has it, too"
            );
        }
        if !self.sources.is_empty() {
            let sources = join(&self.sources);
            let _ = writeln!(
                text,
                "It comes from the source {sources} and will be made again as long as it is declared there. Take it out there to remove it for good."
            );
        }
        text
    }

    /// What is not gone yet, each with what it waits for.
    pub(super) fn left<'a>(
        &self,
        groups: impl Iterator<Item = &'a Group>,
        services: impl Iterator<Item = &'a Service>,
        instances: impl Iterator<Item = &'a Instance>,
    ) -> BTreeMap<String, String> {
        let mut left = BTreeMap::new();
        let goes = |going: &BTreeSet<Going>, uid: Option<String>| {
            going.iter().any(|one| Some(&one.uid) == uid.as_ref())
        };
        for instance in instances.filter(|instance| {
            self.services
                .iter()
                .any(|service| is_owned_by(instance, &service.uid))
        }) {
            let container = names::container(
                &instance.namespace().unwrap_or_default(),
                &instance.name_any(),
            );
            let conditions = instance
                .status
                .as_ref()
                .map(|status| status.conditions.as_slice())
                .unwrap_or_default();
            let message = ready(conditions)
                .filter(|ready| ready.status != "True")
                .map(|ready| ready.message.clone());
            left.insert(
                format!("container {container}"),
                message.unwrap_or_default(),
            );
        }
        for service in services.filter(|service| goes(&self.services, service.uid())) {
            left.insert(
                format!("service {}", Going::of(service).shown()),
                String::new(),
            );
        }
        for group in groups.filter(|group| goes(&self.groups, group.uid())) {
            let conditions = group
                .status
                .as_ref()
                .map(|status| status.conditions.as_slice())
                .unwrap_or_default();
            let message = ready(conditions)
                .filter(|ready| ready.status != "True")
                .map(|ready| ready.message.clone());
            left.insert(
                format!("group {}", Going::of(group).shown()),
                message.unwrap_or_default(),
            );
        }
        left
    }
}

fn join(names: &BTreeSet<String>) -> String {
    names
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn object<K: DeserializeOwned>(kind: &str, name: &str, uid: &str, more: &Value) -> K {
        let mut object = json!({"apiVersion": "clos.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default", "uid": uid}, "spec": {}});
        json_merge(&mut object, more);
        serde_json::from_value(object).unwrap()
    }

    fn json_merge(into: &mut Value, more: &Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (name, value) in more {
                    json_merge(into.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
            (into, more) => *into = more.clone(),
        }
    }

    fn group(name: &str) -> Group {
        object("Group", name, &format!("uid-{name}"), &json!({}))
    }

    fn service(name: &str, group: &str, volumes: &[&str]) -> Service {
        let mounts: Vec<Value> = volumes
            .iter()
            .map(|volume| json!({"mountPath": format!("/{volume}"), "volume": {"name": volume}}))
            .collect();
        object(
            "Service",
            name,
            &format!("uid-{name}"),
            &json!({"spec": {"group": group, "image": "x", "mounts": mounts}}),
        )
    }

    fn instance(name: &str, service: &str) -> Instance {
        let owner = json!([{"apiVersion": "clos.dev/v1alpha1", "kind": "Service", "name": service, "uid": format!("uid-{service}"), "controller": true}]);
        object(
            "Instance",
            name,
            &format!("uid-{name}"),
            &json!({"metadata": {"ownerReferences": owner},
                "spec": {"service": service, "group": "shop", "host": "h", "ordinal": 0, "revision": "r", "container": {"image": "x"}}}),
        )
    }

    fn world() -> (Vec<Group>, Vec<Service>, Vec<Instance>) {
        (
            vec![group("shop"), group("lab")],
            vec![
                service("db", "shop", &["db", "backup"]),
                service("web", "shop", &[]),
                service("archive", "lab", &["backup"]),
            ],
            vec![
                instance("db-0", "db"),
                instance("web-0", "web"),
                instance("web-1", "web"),
                instance("archive-0", "archive"),
            ],
        )
    }

    fn of_shop() -> Removal {
        let (groups, services, instances) = world();
        removal(
            Wanted::Named {
                namespace: "default",
                groups: &["shop".to_owned()],
            },
            &groups,
            &services,
            &instances,
        )
        .unwrap()
    }

    #[test]
    fn everything_that_goes_is_named_and_so_is_what_stays() {
        insta::assert_snapshot!(of_shop().announce(false), @r"
        This is removed:
          group shop with its network clos_default_shop
          service db with its container clos_default_db-0
          service web with its containers clos_default_web-0, clos_default_web-1
        These volumes stay, --volumes would remove them: clos_default_db
        The volume clos_default_backup stays: service archive has it, too
        ");
    }

    #[test]
    fn volumes_go_when_asked_for_and_only_those_that_nobody_else_declares() {
        insta::assert_snapshot!(of_shop().announce(true).lines().skip(3).collect::<Vec<_>>().join("\n"), @r"
          service web with its containers clos_default_web-0, clos_default_web-1
          with everything in them, the volumes clos_default_db
        The volume clos_default_backup stays: service archive has it, too
        ");
    }

    #[test]
    fn what_a_source_declares_will_come_back_and_that_is_said() {
        let (mut groups, services, instances) = world();
        groups[0].metadata.labels = Some(BTreeMap::from([(
            LABEL_SOURCE.to_owned(),
            "shop-folder".to_owned(),
        )]));
        let all = removal(Wanted::All, &groups, &services, &instances).unwrap();
        assert_eq!(
            all.announce(true).lines().last(),
            Some(
                "It comes from the source shop-folder and will be made again as long as it is declared there. Take it out there to remove it for good."
            )
        );
        assert_eq!(
            all.volumes,
            BTreeSet::from([
                "clos_default_backup".to_owned(),
                "clos_default_db".to_owned()
            ])
        );
    }

    #[test]
    fn a_group_that_nobody_knows_is_refused_before_anything_goes() {
        let (groups, services, instances) = world();
        let names = ["shop".to_owned(), "shp".to_owned()];
        let error = removal(
            Wanted::Named {
                namespace: "default",
                groups: &names,
            },
            &groups,
            &services,
            &instances,
        )
        .unwrap_err();
        assert_eq!(
            error,
            "there is no group shp in the namespace default; there are: shop, lab. Nothing was removed"
        );
        let error = removal(
            Wanted::Named {
                namespace: "empty",
                groups: &names,
            },
            &groups,
            &services,
            &instances,
        )
        .unwrap_err();
        assert_eq!(
            error,
            "there is no group shop in the namespace empty; there are none. Nothing was removed"
        );
    }

    #[test]
    fn services_of_a_group_that_is_not_declared_can_be_removed_by_its_name() {
        let (_, services, instances) = world();
        let removal = removal(
            Wanted::Named {
                namespace: "default",
                groups: &["lab".to_owned()],
            },
            &[],
            &services,
            &instances,
        )
        .unwrap();
        assert_eq!(
            removal
                .services
                .iter()
                .map(Going::shown)
                .collect::<Vec<_>>(),
            ["archive"]
        );
    }

    #[test]
    fn what_is_left_are_these_objects_and_not_later_ones_of_their_names() {
        let (groups, services, instances) = world();
        let removal = of_shop();
        let left = removal.left(groups.iter(), services.iter(), instances.iter());
        let names: Vec<&str> = left.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "container clos_default_db-0",
                "container clos_default_web-0",
                "container clos_default_web-1",
                "group shop",
                "service db",
                "service web"
            ]
        );
        let again: Service = object(
            "Service",
            "web",
            "another",
            &json!({"spec": {"group": "shop", "image": "x"}}),
        );
        assert_eq!(
            removal.left([].iter(), [again].iter(), instances[3..].iter()),
            BTreeMap::new()
        );
    }
}
