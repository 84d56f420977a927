//! A server in memory with one custom kind that has every feature a definition can ask for, and short ways to talk to it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::{Identity, Method};
use clos_store::Store;
use clos_telemetry::Metrics;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The header of a body of JSON.
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// Where the custom kind is served in the namespace of the tests.
pub(crate) const WIDGETS: &str = "/apis/example.dev/v1/namespaces/default/widgets";

pub(crate) struct Server {
    pub(crate) api: ApiServer,
    pub(crate) store: Store,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The resource version of an object or list.
    pub(crate) fn version(&self) -> String {
        self.json()["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Code and message of a Status.
    pub(crate) fn failure(&self) -> String {
        format!(
            "{} {}: {}",
            self.code,
            self.json()["reason"].as_str().unwrap(),
            self.json()["message"].as_str().unwrap()
        )
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.headers
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }
}

impl Server {
    pub(crate) async fn new() -> Self {
        Self::on(Store::in_memory()).await
    }

    pub(crate) async fn on(store: Store) -> Self {
        Self::with(store, |_| {}).await
    }

    /// A server whose parts are changed before it starts.
    pub(crate) async fn with(store: Store, change: impl FnOnce(&mut ApiServerConfig)) -> Self {
        let mut config = ApiServerConfig {
            store: store.clone(),
            journal: Journal::new(store.clone(), Redactor::default(), clock),
            crds: vec![widget()],
            clock,
            readiness: Arc::new(|| Ok(())),
            metrics: Metrics::new(),
            retention: Retention::default(),
        };
        change(&mut config);
        let api = ApiServer::new(config).await.unwrap();
        Self { api, store }
    }

    /// Sends a request as an administrator.
    pub(crate) async fn send(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        read(self.open(Some(admin()), method, uri, headers, body).await).await
    }

    /// Sends a request and leaves the answer's body unread.
    pub(crate) async fn open(
        &self,
        identity: Option<Identity>,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        if let Some(identity) = identity {
            request.extensions_mut().insert(identity);
        }
        self.api.router().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.send("GET", uri, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, uri: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            uri,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn put(&self, uri: &str, body: &Value) -> Answer {
        self.send(
            "PUT",
            uri,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn merge(&self, uri: &str, body: &Value) -> Answer {
        self.send(
            "PATCH",
            uri,
            &[("content-type", "application/merge-patch+json")],
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn delete(&self, uri: &str) -> Answer {
        self.send("DELETE", uri, &[], Body::empty()).await
    }

    /// A stored widget of this name.
    pub(crate) async fn widget(&self, name: &str) -> Value {
        let answer = self
            .post(
                WIDGETS,
                &json!({ "metadata": { "name": name }, "spec": { "size": 1 } }),
            )
            .await;
        assert_eq!(answer.code, 201, "{}", answer.text);
        answer.json()
    }

    /// The audit journal as `verb object result`.
    pub(crate) fn journal_lines(&self) -> Vec<String> {
        let lines = self.journal().into_iter().map(|event| {
            let code = event.request.map_or(0, |request| request.code);
            format!(
                "{} {} {} {:?} {code}",
                event.actor, event.verb, event.object, event.result
            )
        });
        lines.collect()
    }

    /// What the audit journal tells.
    pub(crate) fn journal(&self) -> Vec<clos_audit::Event> {
        let records = self
            .store
            .journal(&clos_store::JournalQuery::default())
            .unwrap();
        let entries = records
            .iter()
            .map(|record| serde_json::from_slice::<clos_audit::Entry>(&record.bytes).unwrap());
        entries.map(|entry| entry.event).collect()
    }
}

pub(crate) async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

pub(crate) fn admin() -> Identity {
    user("admin", &["system:masters"])
}

pub(crate) fn user(name: &str, groups: &[&str]) -> Identity {
    Identity {
        user: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        method: Method::ClientCertificate,
    }
}

/// What time it is for the servers of the tests.
pub(crate) fn clock() -> Timestamp {
    Timestamp::from_second(1_767_268_800).unwrap()
}

pub(crate) fn widget() -> CustomResourceDefinition {
    serde_saphyr::from_str(include_str!("widget.yaml")).unwrap()
}
