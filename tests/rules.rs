//! What a declaration may say: every rule of the kinds, as the embedded API answers its violation. The rules themselves stand in
//! clos-resources.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_resources::{Group, Port, Service};
use clos_store::Store;
use clos_telemetry::Metrics;
use jiff::Timestamp;
use kube::api::PostParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde_json::{Value, json};

fn clock() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

async fn client() -> Client {
    let store = Store::in_memory();
    let server = ApiServer::new(ApiServerConfig {
        store: store.clone(),
        journal: Journal::new(store, Redactor::default(), clock),
        crds: clos_resources::crds(),
        clock,
        readiness: Arc::new(|| Ok(())),
        metrics: Metrics::new(),
        retention: Retention::default(),
    });
    server.await.unwrap().client(Identity::component("test"))
}

/// A service's spec with more fields; what is given twice is overwritten.
fn service(more: &Value) -> Value {
    let mut spec = json!({"group": "shop", "image": "shop/web:1"});
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
}

/// The message of the refusal, one cause a line, or `accepted`.
async fn answer(client: &Client, path: &str, object: &Value) -> String {
    match client.request::<Value>(http_post(path, object)).await {
        Ok(_) => "accepted".to_owned(),
        Err(kube::Error::Api(status)) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            let lines: Vec<String> = causes
                .map(|cause| format!("{}: {}", cause.field, cause.message))
                .collect();
            if lines.is_empty() {
                status.message
            } else {
                lines.join("\n")
            }
        }
        Err(error) => panic!("{error}"),
    }
}

fn http_post(path: &str, object: &Value) -> http::Request<Vec<u8>> {
    http::Request::post(format!("{path}?fieldValidation=Strict&dryRun=All"))
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object).unwrap())
        .unwrap()
}

async fn service_answer(client: &Client, more: &Value) -> String {
    answer(
        client,
        "/apis/clos.dev/v1alpha1/namespaces/default/services",
        &service(more),
    )
    .await
}

#[tokio::test]
async fn the_shortest_valid_service_is_group_and_image_and_gets_its_defaults() {
    let api: Api<Service> = Api::namespaced(client().await, "default");
    let shortest: Service = serde_json::from_value(service(&json!({}))).unwrap();
    let created = api.create(&PostParams::default(), &shortest).await.unwrap();
    insta::assert_json_snapshot!(created.spec, @r#"
    {
      "group": "shop",
      "replicas": 1,
      "state": "Running",
      "image": "shop/web:1",
      "imagePullPolicy": "IfNotPresent",
      "stopGracePeriod": "10s",
      "restartPolicy": "Always"
    }
    "#);
}

#[tokio::test]
async fn a_service_with_everything_that_is_carried_out_is_accepted() {
    let full = json!({
        "description": "all of it", "replicas": 2, "state": "Stopped", "imagePullPolicy": "Always",
        "command": ["sh"], "args": ["-c", "true"], "workingDir": "/srv", "user": "1000:1000",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}}],
        "labels": {"team": "shop"}, "tags": ["front"],
        "mounts": [{"mountPath": "/data", "volume": {"name": "data"}}, {"mountPath": "/tmp", "tmpfs": {"size": "16Mi"}}],
        "resources": {"limits": {"cpu": "0.5", "memory": "64Mi", "pids": 100}},
        "ports": [{"name": "http", "containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP", "hostIp": "0.0.0.0"}],
        "restartPolicy": "OnFailure", "dependsOn": [{"service": "db", "condition": "Healthy"}],
        "update": {"strategy": "StopFirst"}, "stopGracePeriod": "1m30s", "stopSignal": "SIGINT",
    });
    assert_eq!(service_answer(&client().await, &full).await, "accepted");
}

#[tokio::test]
async fn every_form_of_an_images_name_is_accepted() {
    let client = client().await;
    let digest = "0f".repeat(32);
    for image in [
        "web",
        "web:1",
        "library/web__x/a-b.c:V1.2_3-rc",
        "localhost/web",
        "Registry.example:5000/shop/web:1",
        "[fd00::1]:5000/web",
        &format!("web@sha256:{digest}"),
        &format!("shop/web:1@sha256:{digest}"),
        &format!("sha256:{digest}"),
    ] {
        let answer = service_answer(&client, &json!({ "image": image })).await;
        assert_eq!(answer, "accepted", "{image}");
    }
}

#[tokio::test]
async fn i12_every_mistake_of_a_service_is_answered_with_its_path_and_what_would_be_right() {
    let cases = [
        json!({"image": null}),
        json!({"imagee": "x"}),
        json!({"image": "foo/BadName:::x"}),
        json!({"image": "../events?x="}),
        json!({"image": "shop/web: 1"}),
        json!({"image": "shop/web@sha256:12"}),
        json!({"group": "Shop"}),
        json!({"replicas": -1}),
        json!({"state": "Paused"}),
        json!({"tags": ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]}),
        json!({"env": [{"name": "1A"}]}),
        json!({"env": [{"name": "A", "value": "x".repeat(1001)}]}),
        json!({"env": [{"name": "A"}, {"name": "A"}]}),
        json!({"env": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        json!({"env": [{"name": "A", "valueFrom": {}}]}),
        json!({"labels": {"clos.dev/instance-uid": "forged"}}),
        json!({"mounts": [{"mountPath": "/data/../etc", "volume": {"name": "d"}}]}),
        json!({"mounts": [{"mountPath": "/data"}]}),
        json!({"mounts": [{"mountPath": "/data", "volume": {"name": "a"}}, {"mountPath": "/data", "volume": {"name": "b"}}]}),
        json!({"ports": [{"containerPort": 0}]}),
        json!({"ports": [{"containerPort": 80, "hostPort": 80000}]}),
        json!({"ports": [{"containerPort": 80, "hostPort": "http"}]}),
        json!({"ports": [{"containerPort": 80, "hostPort": "auto"}]}),
        json!({"ports": [{"containerPort": 80, "hostIp": "localhost"}]}),
        json!({"ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]}),
        json!({"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]}),
        json!({"ports": [{"containerPort": 80, "hostPort": 8080}], "replicas": 2}),
        json!({"resources": {"limits": {"memory": "1Mi"}}}),
        json!({"resources": {"limits": {"cpu": "1m"}}}),
        json!({"resources": {"limits": {"memory": "lots"}}}),
        json!({"stopGracePeriod": "soon"}),
        json!({"healthCheck": {"tcp": {"port": 80}}}),
        json!({"onUnhealthy": "Restart"}),
        json!({"placement": {"hostSelector": {"a": "b"}}}),
        json!({"update": {"strategy": "StartFirst"}}),
        json!({"update": {"onFailure": "Rollback"}}),
    ];
    let client = client().await;
    let mut lines = Vec::new();
    for case in cases {
        let shown: String = case.to_string().chars().take(100).collect();
        lines.push(format!(
            "{shown}\n    {}",
            service_answer(&client, &case).await.replace('\n', "\n    ")
        ));
    }
    insta::assert_snapshot!("service_mistakes", lines.join("\n"));
}

#[tokio::test]
async fn i12_names_of_services_groups_and_ports_are_checked() {
    let named = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "clos.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let services = "/apis/clos.dev/v1alpha1/namespaces/default/services";
    let groups = "/apis/clos.dev/v1alpha1/namespaces/default/groups";
    let ports = "/apis/clos.dev/v1alpha1/ports";
    let spec = service(&json!({}))["spec"].clone();
    let port = json!({"host": "local", "port": 80, "reservedFor": "the proxy"});
    let cases = [
        (services, named("Service", &"a".repeat(59), spec.clone())),
        (services, named("Service", "a.b", spec.clone())),
        (services, named("Service", "Web", spec)),
        (groups, named("Group", &"a".repeat(51), json!({}))),
        (
            groups,
            named("Group", "shop", json!({"dependsOn": ["base"]})),
        ),
        (
            groups,
            named(
                "Group",
                "shop",
                json!({"portRanges": [{"start": 5000, "end": 4000}]}),
            ),
        ),
        (
            groups,
            named("Group", "shop", json!({"conflictPolicy": "Reassign"})),
        ),
        (ports, named("Port", "local-tcp-80", port.clone())),
        (ports, named("Port", "wrong", port)),
        (
            ports,
            named("Port", "local-tcp-80", json!({"host": "local", "port": 80})),
        ),
    ];
    let client = client().await;
    let mut lines = Vec::new();
    for (path, case) in cases {
        let kind = case["kind"].as_str().unwrap();
        lines.push(format!(
            "{kind} {} {}\n    {}",
            case["metadata"]["name"],
            case["spec"],
            answer(&client, path, &case).await.replace('\n', "\n    ")
        ));
    }
    insta::assert_snapshot!("name_mistakes", lines.join("\n"));
}

#[tokio::test]
async fn a_services_group_and_a_ports_identity_cannot_be_changed() {
    let client = client().await;
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let made: Service = serde_json::from_value(service(&json!({}))).unwrap();
    services
        .create(&PostParams::default(), &made)
        .await
        .unwrap();
    let moved = change(&services, "web", &json!({"spec": {"group": "other"}})).await;
    assert!(
        moved
            .contains("a service's group cannot be changed; make a new service in the other group"),
        "{moved}"
    );

    let ports: Api<Port> = Api::all(client);
    let made: Port = serde_json::from_value(json!({"metadata": {"name": "local-tcp-80"}, "spec": {"host": "local", "port": 80, "reservedFor": "x"}})).unwrap();
    ports.create(&PostParams::default(), &made).await.unwrap();
    let changed = change(&ports, "local-tcp-80", &json!({"spec": {"port": 81}})).await;
    assert!(
        changed.contains("a Port's host, protocol and port cannot be changed; they are its name"),
        "{changed}"
    );
}

async fn change<K>(api: &Api<K>, name: &str, patch: &Value) -> String
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patched = api
        .patch(
            name,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(patch),
        )
        .await;
    patched.unwrap_err().to_string()
}

/// Kinds are namespaced or not as the design says.
#[test]
fn services_and_groups_are_namespaced_and_ports_are_not() {
    fn namespaced<K: Resource<Scope = NamespaceResourceScope>>() {}
    namespaced::<Service>();
    namespaced::<Group>();
    let port = clos_resources::crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == "Port")
        .unwrap();
    assert_eq!(port.spec.scope, "Cluster");
}
