//! The small group that all these tests run, what must be there of it, and a server that reaches its engine through a proxy.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clos_harness::{Engine, Listed, Server, Setup, wait_until_within};
use clos_proxy::{Fault, Operation, Proxy, Rule};

/// Every call that only the engine has to answer ends within this: its deadline, and a second for the machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(31);

/// Until everything is as declared after a fault: a deadline, and the waits after a few faults in a row.
pub(crate) const RECOVERY: Duration = Duration::from_secs(100);

/// Two services that end as soon as they are asked to, one with a volume. `VERSION`, `REPLICAS` and `PULL` are to be filled in.
const SHOP: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: {name: shop, namespace: NAMESPACE}
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: PULL
  replicas: REPLICAS
  command: [sh, -c, "trap 'exit 0' TERM; sleep 3600 & wait", VERSION]
  stopGracePeriod: 1s
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: db, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: PULL
  command: [sh, -c, "trap 'exit 0' TERM; sleep 3600 & wait", VERSION]
  stopGracePeriod: 1s
  mounts:
  - {mountPath: /data, volume: {name: data}}
"#;

/// What the registry would tell of an image that is here already.
const PULLED: &str = "{\"status\":\"Pulling from it\",\"id\":\"2\"}\r\n{\"status\":\"Status: Image is up to date\"}\r\n";

/// A server, and what stands between it and its engine.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
}

/// What is declared of the group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop {
    /// A word in all commands: another one makes other containers.
    pub(crate) version: u32,
    /// Replicas of `web`.
    pub(crate) replicas: u32,
}

impl World {
    /// A server whose engine can always pull the tests' image, and that lists all containers every two seconds.
    pub(crate) fn new() -> Self {
        let proxy = Proxy::start(Engine::default().socket());
        always_pulls(&proxy);
        let setup = Setup::new()
            .through(&proxy.address())
            .flags(&["--relist", "2s"]);
        Self {
            server: setup.start(),
            proxy,
        }
    }

    /// No rule holds any more, but for the one that pulls.
    pub(crate) fn no_faults(&self) {
        self.proxy.disarm_all();
        always_pulls(&self.proxy);
    }

    /// Waits until nothing is asked of the engine any more that changes something, for two full lists.
    pub(crate) fn until_quiet(&self) {
        let lists = || self.proxy.count(Operation::ListContainers);
        let (mut since, mut changes) = (lists(), self.proxy.changes());
        wait_until_within(RECOVERY, "clos has nothing to do", || {
            if self.proxy.changes() != changes {
                (since, changes) = (lists(), self.proxy.changes());
            }
            (lists() >= since + 2).then_some(())
        });
    }

    /// No call was left open for longer than it may be.
    pub(crate) fn assert_deadlines(&self) {
        for operation in Operation::ALL {
            let most = match operation {
                // They last as long as there is something to tell.
                Operation::Events | Operation::Logs => continue,
                // The engine waits for the program first, or for the registry.
                Operation::StopContainer => DEADLINE + Duration::from_secs(1),
                Operation::Pull => DEADLINE * 2,
                _ => DEADLINE,
            };
            let longest = self.proxy.longest(operation);
            assert!(longest <= most, "{operation:?} was open for {longest:?}");
        }
    }
}

fn always_pulls(proxy: &Proxy) {
    proxy.arm(Rule::each(
        Operation::Pull,
        Fault::Answer(200, PULLED.to_owned()),
    ));
}

impl Shop {
    /// Declares it.
    pub(crate) fn apply(self, server: &Server) {
        self.declare(server, "Always");
    }

    /// Declares it for an engine that has no proxy before it to answer for a registry.
    pub(crate) fn apply_without_pull(self, server: &Server) {
        self.declare(server, "Never");
    }

    fn declare(self, server: &Server, pull: &str) {
        let text = SHOP
            .replace("VERSION", &format!("version-{}", self.version))
            .replace("REPLICAS", &self.replicas.to_string())
            .replace("PULL", pull);
        std::fs::write(server.scratch("shop.yaml"), server.fill(&text)).unwrap();
        let path = server.scratch("shop.yaml");
        server.kubectl_ok(&["apply", "-f", path.to_str().unwrap()]);
    }

    /// Takes everything away that was declared.
    pub(crate) fn delete(server: &Server) {
        let path = server.scratch("shop.yaml");
        server.kubectl_ok(&["delete", "--wait=false", "-f", path.to_str().unwrap()]);
    }

    fn names(self, server: &Server) -> Vec<String> {
        let web = (0..self.replicas).map(|ordinal| format!("web-{ordinal}"));
        let mut names: Vec<String> = web
            .chain(["db-0".to_owned()])
            .map(|instance| server.container(&instance))
            .collect();
        names.sort();
        names
    }

    /// Whether exactly the declared containers are there, and all run.
    pub(crate) fn is_there(self, server: &Server) -> bool {
        let listed = listed(server);
        let names: Vec<String> = listed.iter().map(|one| one.name.clone()).collect();
        let version = format!("version-{}", self.version);
        names == self.names(server)
            && listed
                .iter()
                .all(|one| one.state == "running" && one.command.ends_with(&version))
    }

    /// Waits until exactly the declared containers and their volume are there, and the services say so.
    pub(crate) fn until_there(self, server: &Server, patience: Duration) {
        let what = format!("exactly {self:?} is there");
        wait_until_within(patience, &what, || {
            (self.is_there(server) && services_are_ready(server)).then_some(())
        });
        assert!(self.is_there(server), "{:#?}", listed(server));
        assert_eq!(volumes(server), [volume(server)]);
    }

    /// Waits until nothing is left of it but its volume, which is the user's, and removes that.
    pub(crate) fn until_gone(server: &Server) {
        let (engine, installation) = (server.engine(), server.installation());
        wait_until_within(RECOVERY, "containers and network are gone", || {
            (engine.containers_of(installation).is_empty()
                && engine.networks_of(installation).is_empty())
            .then_some(())
        });
        wait_until_within(RECOVERY, "the objects are gone", || {
            let gone = |kind: &&str| server.list(kind).is_empty();
            ["csvc", "cinst", "cgrp"].iter().all(gone).then_some(())
        });
        assert_eq!(volumes(server), [volume(server)]);
        engine.docker(&["volume", "rm", &volume(server)]);
    }
}

fn volumes(server: &Server) -> Vec<String> {
    server.engine().volumes_of(server.installation())
}

fn volume(server: &Server) -> String {
    format!("clos_{}_data", server.namespace)
}

/// All containers of the server's installation, by name.
pub(crate) fn listed(server: &Server) -> Vec<Listed> {
    let mut listed = server.engine().containers(server.installation());
    listed.sort();
    listed
}

/// Names of the containers that run, each with its process.
pub(crate) fn processes(server: &Server) -> BTreeMap<String, u64> {
    let pid = |one: Listed| {
        let shown = server.engine().inspect(&one.id)?;
        Some((one.name, shown["State"]["Pid"].as_u64()?))
    };
    listed(server).into_iter().filter_map(pid).collect()
}

fn services_are_ready(server: &Server) -> bool {
    server.list("csvc").iter().all(|service| {
        let conditions = service["status"]["conditions"].as_array();
        let ready = conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True")
        });
        ready && service["status"]["observedGeneration"] == service["metadata"]["generation"]
    })
}

/// The reason of the Host's `Ready` condition.
pub(crate) fn host_reason(server: &Server) -> String {
    let hosts = server.list("chost");
    hosts.first().map(reason).unwrap_or_default()
}

/// The reasons of all Instances' `Ready` conditions.
pub(crate) fn instance_reasons(server: &Server) -> Vec<String> {
    server.list("cinst").iter().map(reason).collect()
}

fn reason(object: &serde_json::Value) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|one| one["type"] == "Ready"));
    ready
        .and_then(|ready| ready["reason"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// Waits until Host and Instances say that the engine does not answer.
pub(crate) fn until_unavailable(server: &Server) {
    let patience = Duration::from_secs(10);
    wait_until_within(patience, "Host and Instances say EngineUnavailable", || {
        let instances = instance_reasons(server);
        (host_reason(server) == "EngineUnavailable"
            && !instances.is_empty()
            && instances.iter().all(|reason| reason == "EngineUnavailable"))
        .then_some(())
    });
}

/// How long so many lists of services took, each: the fastest first.
pub(crate) fn list_times(server: &Server, count: usize) -> Vec<Duration> {
    let list_time = |_| {
        let began = Instant::now();
        server.read("/apis/clos.dev/v1alpha1/services").unwrap();
        began.elapsed()
    };
    let mut times: Vec<Duration> = (0..count).map(list_time).collect();
    times.sort();
    times
}

/// Fails unless the API answers as always: lists of services, half of them within a twentieth of a second and all within one.
pub(crate) fn assert_api_is_fast(server: &Server) {
    let times = list_times(server, 200);
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    assert!(
        median < Duration::from_millis(50) && worst < Duration::from_secs(1),
        "half of the lists took up to {median:?}, the longest {worst:?}"
    );
}
