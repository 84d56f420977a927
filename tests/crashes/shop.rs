//! A shop that uses everything a plan can make: replicas, a host port, a volume, a network, values from a Secret and a `ConfigMap`.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use clos_harness::Server;

use crate::right::Right;

/// The group, its values, and so many objects that a few less are no reason to ask for a confirmation.
const GROUP: &str = r"
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: {name: shop, namespace: NAMESPACE}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: NAMESPACE}
stringData: {word: sesame}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAMESPACE}
data: {colour: green}
";

const WEB: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "exec sleep 3600"]
  stopGracePeriod: 0s
  labels: {version: "VERSION"}
  mounts: [{mountPath: /data, volume: {name: data}}]
  env:
  - {name: WORD, valueFrom: {secretKeyRef: {name: password, key: word}}}
  - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
"#;

const WORKER: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: worker, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "exec sleep 3600"]
  stopGracePeriod: 0s
  labels: {version: "VERSION"}
  replicas: REPLICAS
"#;

/// A second group with a service of its own.
const SIDE: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: {name: side, namespace: NAMESPACE}
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: aside, namespace: NAMESPACE}
spec:
  group: side
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "exec sleep 3600"]
  stopGracePeriod: 0s
  labels: {version: "1"}
"#;

/// What a shop's folder declares.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    /// The version that both services of the group are labelled with.
    pub(crate) version: u32,
    /// Replicas of `worker`.
    pub(crate) workers: u32,
    /// The host port that `web` is published on.
    pub(crate) port: Option<u16>,
    /// Whether there is `web`.
    pub(crate) web: bool,
    /// Whether there is the second group.
    pub(crate) side: bool,
}

impl Shop {
    /// Two services with three replicas and a port, and another group beside it.
    pub(crate) fn new() -> Self {
        Self {
            version: 1,
            workers: 2,
            port: Some(free_port()),
            web: true,
            side: true,
        }
    }

    /// The files, by name.
    pub(crate) fn files(&self) -> Vec<(&'static str, String)> {
        let version = self.version.to_string();
        let mut web = WEB.replace("VERSION", &version);
        if let Some(port) = self.port {
            let ports = format!("  ports: [{{containerPort: 80, hostPort: {port}}}]\n");
            web.push_str(&ports);
        }
        let filler = (0..8).map(|number| {
            format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: filler-{number}, namespace: NAMESPACE}}\n")
        });
        let mut files = vec![
            ("group.yaml", GROUP.to_owned() + &filler.collect::<String>()),
            (
                "worker.yaml",
                WORKER
                    .replace("VERSION", &version)
                    .replace("REPLICAS", &self.workers.to_string()),
            ),
        ];
        files.extend(self.web.then_some(("web.yaml", web)));
        files.extend(self.side.then(|| ("side.yaml", SIDE.to_owned())));
        files
    }

    /// Makes the folder of a server declare this.
    pub(crate) fn declare(&self, server: &Server) {
        let files = self.files();
        for (name, content) in &files {
            server.write(name, content);
        }
        for name in ["web.yaml", "side.yaml"] {
            let declared = files.iter().any(|(file, _)| *file == name);
            if !declared && server.source().join(name).exists() {
                server.remove(name);
            }
        }
    }

    /// What must be so when it is as declared.
    pub(crate) fn right(&self) -> Right {
        let mut right = Right::default();
        let version = self.version.to_string();
        for number in 0..self.workers {
            right.runs(&format!("worker-{number}"), &version);
        }
        if self.web {
            right.runs("web-0", &version);
            right.ports.extend(self.port);
        }
        if self.workers > 0 || self.web {
            right.networks.insert("shop".to_owned());
        }
        if self.side {
            right.runs("aside-0", "1");
            right.networks.insert("side".to_owned());
        }
        right
    }
}

/// A host port that no other test of this process is given, below those that the system gives to programs that do not care.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 15_000 + u16::try_from(std::process::id() % 1_500).unwrap() * 10;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
