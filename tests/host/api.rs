//! What the tests ask a server's API for: `ConfigMaps` as something to write, and every code and body as it comes. How it is asked is in the
//! harness.

use clos_harness::{Answer, Server};
use serde_json::{Value, json};

/// The API of one server process, and the test's namespace there.
pub(crate) struct Api {
    api: clos_harness::Api,
    namespace: String,
}

impl Api {
    /// That of a server that has written its kubeconfig.
    pub(crate) fn of(server: &Server) -> Self {
        Self {
            api: clos_harness::Api::of(&server.kubeconfig()).unwrap(),
            namespace: server.namespace.clone(),
        }
    }

    /// Sends a request; an error when no answer came at all.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        self.api.send(method, path, body)
    }

    /// Sends a GET, which must be answered.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.api.get(path).unwrap()
    }

    /// The path of the `ConfigMaps` of the test's namespace.
    pub(crate) fn config_maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    /// Creates a `ConfigMap` that holds so many bytes.
    pub(crate) fn put_config_map(&self, name: &str, bytes: usize) -> Result<Answer, String> {
        let body = json!({"metadata": {"name": name}, "data": {"text": "x".repeat(bytes)}});
        self.try_send("POST", &self.config_maps(), Some(&body))
    }

    /// The names of the `ConfigMaps` of the test's namespace.
    pub(crate) fn config_map_names(&self) -> Vec<String> {
        let list = self.get(&self.config_maps()).json();
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }
}
