//! What must be so: exactly the declared containers run, and nothing else is there. Whether the audit agrees is in `audit`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clos_harness::{PATIENCE, Server, wait_until_right};
use serde_json::Value;

/// How long after its start a server should take at most until everything is as declared.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// What must run, and what must be there for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Right {
    /// The version of each Instance that must run, by its name.
    instances: BTreeMap<String, String>,
    /// Host ports that must be claimed, each by a living Instance.
    pub(crate) ports: BTreeSet<u16>,
    /// Groups that must have their network.
    pub(crate) networks: BTreeSet<String>,
    /// Volumes that must be there whatever happened: no controller may remove one.
    pub(crate) volumes: BTreeSet<String>,
}

impl Right {
    /// An Instance runs, in this version.
    pub(crate) fn runs(&mut self, instance: &str, version: &str) {
        self.instances
            .insert(instance.to_owned(), version.to_owned());
    }

    /// Waits until everything is right, looks once more, and says how long after `since` that was. On a machine with many tests at the
    /// same time that may be longer than [`SOON`].
    pub(crate) fn until_so(&self, server: &Server, since: Instant) -> Duration {
        let patience = PATIENCE.saturating_sub(since.elapsed());
        wait_until_right(patience, "everything is right", || self.check(server));
        let took = since.elapsed();
        if let Err(wrong) = self.check(server) {
            panic!("it was right and is not any more: {wrong}");
        }
        took
    }

    fn check(&self, server: &Server) -> Result<(), String> {
        let containers = self
            .instances
            .iter()
            .map(|(instance, version)| format!("{} {version} running", server.container(instance)));
        same("containers", containers_of(server), containers)?;
        let networks = self
            .networks
            .iter()
            .map(|group| format!("clos_{}_{group}", server.namespace));
        let (engine, installation) = (server.engine(), server.installation());
        same("networks", engine.networks_of(installation), networks)?;
        let volumes = engine.volumes_of(installation);
        let volumes: BTreeSet<String> = volumes.into_iter().collect();
        if !self.volumes.is_subset(&volumes) {
            let wanted = &self.volumes;
            return Err(format!(
                "of the volumes {wanted:?} only {volumes:?} are left"
            ));
        }
        self.check_objects(&objects(server)?)
    }

    fn check_objects(&self, objects: &[Value]) -> Result<(), String> {
        let of = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        let going = |object: &&Value| !object["metadata"]["deletionTimestamp"].is_null();
        if let Some(object) = objects.iter().find(going) {
            return Err(format!(
                "{} {} is still going",
                object["kind"],
                name(object)
            ));
        }
        let instances: BTreeMap<String, String> = of("Instance")
            .map(|object| (name(object), uid(object)))
            .collect();
        same(
            "Instances",
            instances.keys().cloned(),
            self.instances.keys().cloned(),
        )?;
        let ports = of("Port").map(|port| port["spec"]["port"].to_string());
        same("Ports", ports, self.ports.iter().map(u16::to_string))?;
        for port in of("Port") {
            let holder = &port["spec"]["holder"];
            let lives = instances.get(holder["instance"].as_str().unwrap_or_default());
            if lives.map(String::as_str) != holder["uid"].as_str() {
                return Err(format!("port {} is held by {holder}", name(port)));
            }
        }
        for service in of("Service") {
            let conditions = service["status"]["conditions"].as_array();
            let ready = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            let spoken_of = &service["status"]["observedGeneration"];
            if !ready || *spoken_of != service["metadata"]["generation"] {
                return Err(format!(
                    "service {} is {}",
                    name(service),
                    service["status"]
                ));
            }
        }
        Ok(())
    }
}

fn same(
    what: &str,
    found: impl IntoIterator<Item = String>,
    wanted: impl IntoIterator<Item = String>,
) -> Result<(), String> {
    let sorted = |words: Vec<String>| {
        let mut words = words;
        words.sort();
        words
    };
    let found = sorted(found.into_iter().collect());
    let wanted = sorted(wanted.into_iter().collect());
    let message = format!("{what} are {found:?}, not {wanted:?}");
    (found == wanted).then_some(()).ok_or(message)
}

/// Everything that the tests look at, of all namespaces.
pub(crate) fn objects(server: &Server) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    for collection in [
        "/api/v1/namespaces",
        "/api/v1/configmaps",
        "/api/v1/secrets",
        "/apis/clos.dev/v1alpha1/groups",
        "/apis/clos.dev/v1alpha1/services",
        "/apis/clos.dev/v1alpha1/instances",
        "/apis/clos.dev/v1alpha1/ports",
    ] {
        let list = server.read(collection)?.json();
        objects.extend(list["items"].as_array().cloned().unwrap_or_default());
    }
    Ok(objects)
}

/// An object's UID.
pub(crate) fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Name, version and state of each container of the installation.
fn containers_of(server: &Server) -> Vec<String> {
    let listed = server.engine().containers(server.installation());
    listed
        .iter()
        .map(|one| {
            let version = one.labels.get("version").map_or("", String::as_str);
            format!("{} {version} {}", one.name, one.state)
        })
        .collect()
}
