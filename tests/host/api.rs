//! A client of a server's API that sees every code and body as it comes, and the numbers the server tells of itself.

use clos_harness::Server;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A client with the admin's certificate. It tries nothing twice.
pub(crate) struct Api {
    runtime: Runtime,
    client: Client,
    namespace: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

impl Api {
    /// A client of a server that has written its kubeconfig.
    pub(crate) fn of(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let client = runtime.block_on(async {
            let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .unwrap();
            config.default_retry = false;
            Client::try_from(config).unwrap()
        });
        Self {
            runtime,
            client,
            namespace: server.namespace.clone(),
        }
    }

    /// Sends a request; an error when no answer came at all.
    pub(crate) fn try_send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Content-Type", content_type(method));
        let body = body.map(|body| body.to_string().into_bytes());
        let request = request.body(body.unwrap_or_default().into()).unwrap();
        self.runtime.block_on(async {
            let response = self.client.send(request).await;
            let response = response.map_err(|error| format!("{error:?}"))?;
            let code = response.status().as_u16();
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| format!("{error:?}"))?.to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer { code, body })
        })
    }

    fn send(&self, method: &Method, path: &str, body: Option<&Value>) -> Answer {
        self.try_send(method, path, body).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&Method::GET, path, None)
    }

    /// The path of the `ConfigMaps` of the test's namespace.
    pub(crate) fn config_maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    /// Creates a `ConfigMap` that holds so many bytes.
    pub(crate) fn put_config_map(&self, name: &str, bytes: usize) -> Result<Answer, String> {
        let body = json!({"metadata": {"name": name}, "data": {"text": "x".repeat(bytes)}});
        self.try_send(&Method::POST, &self.config_maps(), Some(&body))
    }

    /// The names of the `ConfigMaps` of the test's namespace.
    pub(crate) fn config_map_names(&self) -> Vec<String> {
        let list = self.get(&self.config_maps()).json();
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The sum of all series of the server's metrics whose line begins so.
    pub(crate) fn metric(&self, beginning: &str) -> f64 {
        let answer = self.get("/metrics");
        assert_eq!(answer.code, 200, "{answer:?}");
        let series = answer
            .body
            .lines()
            .filter(|line| line.starts_with(beginning));
        series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

fn content_type(method: &Method) -> &'static str {
    if *method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    }
}
