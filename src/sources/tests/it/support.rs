//! A server in memory, and short ways to declare things and to look at them.

use std::path::Path;
use std::sync::Arc;

use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_sources::{DesiredSet, Kinds, Manifests, Report, SyncOptions, apply, prepare};
use clos_store::Store;
use clos_telemetry::{Chain, Metrics};
use jiff::Timestamp;
use kube::Client;
use kube::core::Request;
use serde_json::{Value, json};

pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) store: Store,
}

impl Server {
    pub(crate) async fn new() -> Self {
        let store = Store::in_memory();
        let config = ApiServerConfig {
            journal: Journal::new(store.clone(), Redactor::default(), clock),
            store: store.clone(),
            crds: clos_resources::crds(),
            clock,
            readiness: Arc::new(|| Ok(())),
            metrics: Metrics::new(),
            retention: Retention::default(),
        };
        let api = ApiServer::new(config).await.unwrap();
        Self {
            client: api.client(Identity::component("source")),
            store,
        }
    }

    /// A number that grows with every write.
    pub(crate) fn writes(&self) -> u64 {
        self.store.revision()
    }

    pub(crate) async fn desired(&self, files: &[(&str, &str)]) -> DesiredSet {
        let mut manifests = Manifests::default();
        for (file, text) in files {
            manifests.read(Path::new(file), text.as_bytes());
        }
        let kinds = Kinds::discover(self.client.clone()).await.unwrap();
        DesiredSet::new(manifests, kinds)
    }

    /// Everything a source does with its files; the error is what it says to the user.
    pub(crate) async fn sync(
        &self,
        files: &[(&str, &str)],
        options: &SyncOptions,
    ) -> Result<Report, String> {
        let desired = self.desired(files).await;
        let prepared = prepare(&self.client, &desired, options)
            .await
            .map_err(|error| Chain(&error).to_string())?;
        Ok(apply(&self.client, &prepared, &mut |_, _| {}).await)
    }

    /// The same, when everything must go well; what became of each object that was not left as it was.
    pub(crate) async fn synced(
        &self,
        files: &[(&str, &str)],
        options: &SyncOptions,
    ) -> Vec<String> {
        let report = self.sync(files, options).await.unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        let changed = report
            .outcomes
            .iter()
            .filter(|(_, outcome)| **outcome != clos_sources::Outcome::Unchanged);
        changed
            .map(|(key, outcome)| format!("{key} {outcome}"))
            .collect()
    }

    pub(crate) async fn get(&self, url: &str) -> Option<Value> {
        let (collection, name) = url.rsplit_once('/').unwrap();
        let request = Request::new(collection)
            .get(name, &kube::api::GetParams::default())
            .unwrap();
        match self.client.request(request).await {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn service(&self, name: &str) -> Option<Value> {
        self.get(&format!("{SERVICES}/{name}")).await
    }

    /// What somebody else does to an object.
    pub(crate) async fn merge(&self, url: &str, patch: &Value) {
        let (collection, name) = url.rsplit_once('/').unwrap();
        let patch = kube::api::Patch::Merge(patch);
        let request = Request::new(collection)
            .patch(name, &kube::api::PatchParams::default(), &patch)
            .unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }

    pub(crate) async fn delete(&self, url: &str) {
        let (collection, name) = url.rsplit_once('/').unwrap();
        let request = Request::new(collection)
            .delete(name, &kube::api::DeleteParams::default())
            .unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }
}

pub(crate) const SERVICES: &str = "/apis/clos.dev/v1alpha1/namespaces/default/services";

pub(crate) fn clock() -> Timestamp {
    Timestamp::from_second(1_767_268_800).unwrap()
}

pub(crate) fn shop() -> SyncOptions {
    SyncOptions {
        source: Some("shop".to_owned()),
        prune: true,
    }
}

/// The shortest valid service.
pub(crate) fn service(name: &str, image: &str) -> String {
    let object = json!({ "group": "shop", "image": image });
    format!(
        "---\napiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {object}\n"
    )
}
