//! What a server's API shows of its objects and of its numbers, read in process. The server's process, folder and containers are in `server`,
//! the client is in `api`.

use serde_json::Value;

use crate::api::{Answer, Api};
use crate::server::Server;
use crate::wait::wait_until;

impl Server {
    /// What the API gives at a path; in words what is wrong when there is no answer or not one of success.
    pub fn read(&self, path: &str) -> Result<Answer, String> {
        // The client of the last look, unless nothing answers it: its connection may just have ended, and a process that was started again has
        // another port.
        let known = self.api.take();
        let answered = known.and_then(|api| Some((api.get(path).ok()?, api)));
        let (answer, api) = if let Some(both) = answered {
            both
        } else {
            let api = Api::of(&self.kubeconfig())?;
            (api.get(path)?, api)
        };
        self.api.replace(Some(api));
        answer.good()
    }

    /// One object as JSON, or nothing when it does not exist or the server does not answer.
    pub fn object(&self, kind: &str, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", self.collection(kind));
        self.read(&path).ok().map(|answer| answer.json())
    }

    /// All objects of a kind, those of the test's namespace when they are in one.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let mut list = self.read(&self.collection(kind)).unwrap().json();
        match list["items"].take() {
            Value::Array(items) => items,
            _ => panic!("a list of {kind} without items: {list}"),
        }
    }

    /// The sum of all series of the server's metrics whose line begins so.
    pub fn metric(&self, beginning: &str) -> f64 {
        let metrics = self.read("/metrics").unwrap().body;
        let series = metrics.lines().filter(|line| line.starts_with(beginning));
        let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        // A sum of nothing would be -0.
        values.fold(0.0, |sum, value| sum + value)
    }

    /// An object's `Ready` condition: status, reason, message.
    pub fn ready(&self, kind: &str, name: &str) -> (String, String, String) {
        let ready = ready_condition(&self.object(kind, name).unwrap_or_default());
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    /// Waits until a service is ready for its newest declaration.
    pub fn until_ready(&self, service: &str) {
        wait_until(&format!("service {service} is ready"), || {
            let object = self.object("csvc", service)?;
            let ready = ready_condition(&object)["status"] == "True";
            (ready && object["status"]["observedGeneration"] == object["metadata"]["generation"])
                .then_some(())
        });
    }

    /// Waits until an object's `Ready` condition has this reason, and gives its message.
    pub fn until_reason(&self, kind: &str, name: &str, reason: &str) -> String {
        wait_until(&format!("{kind} {name} has the reason {reason}"), || {
            let (_, found, message) = self.ready(kind, name);
            (found == reason).then_some(message)
        })
    }

    /// Where the objects of a kind are. Kinds are called as people call them who type `kubectl`.
    fn collection(&self, kind: &str) -> String {
        let of_namespace = format!("namespaces/{}", self.namespace);
        match kind {
            "ns" | "namespace" => "/api/v1/namespaces".to_owned(),
            "configmap" => format!("/api/v1/{of_namespace}/configmaps"),
            "secret" => format!("/api/v1/{of_namespace}/secrets"),
            "cgrp" => format!("/apis/clos.dev/v1alpha1/{of_namespace}/groups"),
            "csvc" => format!("/apis/clos.dev/v1alpha1/{of_namespace}/services"),
            "cinst" => format!("/apis/clos.dev/v1alpha1/{of_namespace}/instances"),
            "cport" => "/apis/clos.dev/v1alpha1/ports".to_owned(),
            "chost" => "/apis/clos.dev/v1alpha1/hosts".to_owned(),
            _ => panic!("the harness does not know where the objects of the kind {kind} are"),
        }
    }
}

/// The `Ready` condition of an object, or null.
fn ready_condition(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"))
        .cloned()
        .unwrap_or_default()
}
