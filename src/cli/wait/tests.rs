//! Waiting against a real API server in memory; its statuses are written here, as the controllers would.

use clos_engine::fake::FakeEngine;
use clos_resources::conditions::{Reason, Summary};
use clos_resources::{Instance, Service};
use clos_sources::Manifests;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::*;
use crate::tests::{container, server};

const WEB: &str = "\
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: shop }
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web }
spec: { group: shop, image: \"shop/web:1\" }
";

async fn with_web() -> Client {
    let client = server().await;
    let mut manifests = Manifests::default();
    manifests.read(std::path::Path::new("web.yaml"), WEB.as_bytes());
    crate::apply::apply(&client, manifests, &mut |_| Ok(()))
        .await
        .unwrap();
    client
}

fn for_web(timeout: &str) -> Wait {
    let web = Subject::Service {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
    };
    Wait {
        subjects: BTreeSet::from([web]),
        values_changed: false,
        timeout: timeout.parse().unwrap(),
    }
}

async fn report(client: &Client, reason: Reason, message: &str) {
    let api = Api::<Service>::default_namespaced(client.clone());
    let generation = api.get("web").await.unwrap().metadata.generation;
    let conditions = Summary::new(reason, message).conditions(
        generation,
        &[],
        "2026-01-01T00:00:00Z".parse().unwrap(),
    );
    let status = json!({"status": {"ready": "0/1", "observedGeneration": generation, "conditions": conditions}});
    api.patch_status("web", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
}

#[tokio::test]
async fn it_ends_when_the_server_says_that_everything_is_as_declared() {
    let client = with_web().await;
    let steps = async {
        report(&client, Reason::Progressing, "web-0 is starting").await;
        report(&client, Reason::Ready, "running").await;
    };
    let (ending, ()) = tokio::join!(
        until_as_declared(&client, Err("no engine"), for_web("1m")),
        steps
    );
    assert_eq!(ending.unwrap(), Ending::Done);
}

#[tokio::test]
async fn it_ends_with_a_failure_long_before_the_deadline() {
    let client = with_web().await;
    report(&client, Reason::InvalidSpec, "a → b → a").await;
    let ending = until_as_declared(&client, Err("no engine"), for_web("10m"))
        .await
        .unwrap();
    assert_eq!(ending, Ending::NotAsAsked);
}

#[tokio::test]
async fn at_the_deadline_it_ends_whatever_is_missing() {
    let client = with_web().await;
    let ending = until_as_declared(&client, Err("no engine"), for_web("1s"))
        .await
        .unwrap();
    assert_eq!(ending, Ending::Deadline);
}

#[tokio::test]
async fn the_failed_container_s_last_lines_are_part_of_what_is_said() {
    let client = with_web().await;
    let engine = FakeEngine::builder().image("shop/web:1").build();
    let id = container(&engine, "web-0", "shop/web:1").await;
    for number in 1..=12 {
        engine.write_line(&id, true, &format!("line {number}"));
    }
    let service = Api::<Service>::default_namespaced(client.clone())
        .get("web")
        .await
        .unwrap();
    let instance: Instance = serde_json::from_value(json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Instance",
        "metadata": {"name": "web-0", "labels": {"clos.dev/service": "web"}},
        "spec": {"service": "web", "group": "shop", "host": "local", "ordinal": 0, "revision": clos_plan::service::revision(&service), "container": {"image": "x"}}}))
    .unwrap();
    let api = Api::<Instance>::default_namespaced(client.clone());
    api.create(&PostParams::default(), &instance).await.unwrap();
    let conditions = Summary::new(Reason::Failed, "exited with 1").conditions(
        Some(1),
        &[],
        "2026-01-01T00:00:00Z".parse().unwrap(),
    );
    let status =
        json!({"status": {"containerId": id, "observedGeneration": 1, "conditions": conditions}});
    api.patch_status("web-0", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    report(
        &client,
        Reason::Failed,
        "exited with 1 and is not started again",
    )
    .await;

    let wait = for_web("1m");
    let mut live = Live::of(&client, &BTreeSet::from(["default".to_owned()]));
    let mut tracker = Tracker::new(wait.subjects, false);
    let mut board = Board::new(tracker.subjects(), false);
    let End::Failed(snapshot) = follow(&mut live, &mut tracker, &mut board, wait.timeout)
        .await
        .unwrap()
    else {
        panic!("it has failed")
    };
    insta::assert_snapshot!(describe(&tracker, &snapshot, Ok(&engine)).await);
    let unreachable = describe(&tracker, &snapshot, Err("cannot reach a container engine")).await;
    assert!(
        unreachable.contains("cannot be read here (cannot reach a container engine)"),
        "{unreachable}"
    );
}
