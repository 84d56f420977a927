//! What one request to the embedded API costs, in process through the router on a store on disk: get, list 1000, patch status. What the
//! network and TLS add is not here.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_store::{Options, Store};
use clos_telemetry::Metrics;
use criterion::{Criterion, SamplingMode, Throughput};
use futures::future::join_all;
use http::Request;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const SERVICES: usize = 1000;
const WRITERS: usize = 64;
const PATH: &str = "/apis/clos.dev/v1alpha1/namespaces/default/services";

fn main() {
    let runtime = Runtime::new().unwrap();
    // Not in the system's folder for temporary files, which may lie in memory.
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let router = runtime.block_on(server(folder.path()));
    runtime.block_on(fill(&router));
    let mut criterion = Criterion::default().configure_from_args();
    let mut benches = criterion.benchmark_group("api");
    benches
        .sample_size(20)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5));

    benches.throughput(Throughput::Elements(1));
    benches.bench_function("get", |b| {
        let uri = format!("{PATH}/{}", name(0));
        b.iter(|| runtime.block_on(send(&router, "GET", &uri, "", String::new())));
    });
    benches.throughput(Throughput::Elements(SERVICES as u64));
    benches.bench_function("list_1000", |b| {
        b.iter(|| runtime.block_on(send(&router, "GET", PATH, "", String::new())));
    });
    // Each patch changes something: one that changes nothing is not written.
    let generation = AtomicU64::new(2);
    for writers in [1, WRITERS] {
        benches.throughput(Throughput::Elements(writers as u64));
        benches.bench_function(format!("patch_status/{writers}_writers"), |b| {
            b.iter(|| {
                let next = generation.fetch_add(1, Ordering::Relaxed);
                runtime.block_on(patch_all(&router, writers, next));
            });
        });
    }
    benches.finish();
    criterion.final_summary();
}

fn clock() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

async fn server(folder: &Path) -> Router {
    let store = Store::open(folder, Options::default()).unwrap();
    let server = ApiServer::new(ApiServerConfig {
        store: store.clone(),
        journal: Journal::new(store, Redactor::default(), clock),
        crds: clos_resources::crds(),
        clock,
        readiness: Arc::new(|| Ok(())),
        metrics: Metrics::new(),
        retention: Retention::default(),
    });
    server.await.unwrap().router()
}

fn name(number: usize) -> String {
    format!("service-{number}")
}

async fn fill(router: &Router) {
    let creations = (0..SERVICES).map(|number| {
        let body = json!({
            "apiVersion": "clos.dev/v1alpha1",
            "kind": "Service",
            "metadata": {"name": name(number)},
            "spec": {
                "group": "shop",
                "image": "shop/web:1.4.2",
                "env": [{"name": "LOG", "value": "info"}, {"name": "LISTEN", "value": "0.0.0.0:8080"}],
                "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}},
            },
        });
        send(router, "POST", PATH, "application/json", body.to_string())
    });
    join_all(creations).await;
}

/// Patches the status of different services at the same time.
async fn patch_all(router: &Router, writers: usize, generation: u64) {
    let body = json!({"status": {"observedGeneration": generation}}).to_string();
    let patches = (0..writers).map(|number| {
        let uri = format!("{PATH}/{}/status", name(number));
        let body = body.clone();
        async move { send(router, "PATCH", &uri, "application/merge-patch+json", body).await }
    });
    join_all(patches).await;
}

/// Sends a request as a part of clos and reads the answer to its end.
async fn send(router: &Router, method: &str, uri: &str, content_type: &str, body: String) {
    let mut request = Request::builder().method(method).uri(uri);
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    let mut request = request.body(Body::from(body)).unwrap();
    request
        .extensions_mut()
        .insert(Identity::component("bench"));
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!(
        status.is_success(),
        "{method} {uri}: {status} {}",
        String::from_utf8_lossy(&bytes)
    );
    black_box(bytes);
}
