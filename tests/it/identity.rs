//! Invariant I1 on a real engine: foreign things with our names, with copied and with forged labels, all untouched.

use serde_json::Value;

use clos_harness::{Foreign, Server, WEB, docker, inspect, wait_until};

/// What must stay as it is in a container.
fn face(container: &Value) -> (Value, Value, Value, Value) {
    (
        container["Id"].clone(),
        container["Name"].clone(),
        container["State"]["StartedAt"].clone(),
        container["State"]["Running"].clone(),
    )
}

#[test]
fn i1_a_foreign_container_with_the_name_is_left_alone_and_named() {
    let server = Server::start();
    let foreign = Foreign::container(&["--name", &server.container("web-0")]);
    let before = face(&inspect(&foreign.id).unwrap());
    server.write("web.yaml", WEB);
    let message = server.until_reason("csvc", "web", "NameConflict");
    assert!(message.contains(&server.container("web-0")), "{message}");
    assert_eq!(face(&inspect(&foreign.id).unwrap()), before);
    docker(&["rename", &foreign.id, &format!("away-{}", server.namespace)]);
    server.until_ready("web");
    assert_eq!(inspect(&foreign.id).unwrap()["State"]["Running"], true);
}

#[test]
fn i1_containers_with_copied_and_forged_labels_are_left_alone() {
    let server = Server::start_with(&[("web.yaml", WEB)], &["--relist", "1s"]);
    server.until_ready("web");
    let ours = server.inspect("web-0").unwrap();
    let labels: Vec<String> = ours["Config"]["Labels"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
        .collect();
    let mut copied: Vec<&str> = Vec::new();
    for label in &labels {
        copied.extend(["--label", label]);
    }
    let name = format!("copy-{}", server.namespace);
    copied.extend(["--name", &name]);
    let installation = format!("clos.dev/installation={}", server.installation());
    let decoys = [
        Foreign::container(&copied),
        Foreign::container(&[
            "--label",
            &installation,
            "--label",
            "clos.dev/instance-uid=00000000-0000-0000-0000-000000000000",
            "--label",
            "clos.dev/namespace=default",
            "--label",
            "clos.dev/instance=ghost-0",
        ]),
        Foreign::container(&[
            "--label",
            "clos.dev/installation=somebody-else",
            "--label",
            "clos.dev/instance-uid=1",
        ]),
        Foreign::container(&["--label", &installation]),
    ];
    let before: Vec<_> = decoys
        .iter()
        .map(|decoy| face(&inspect(&decoy.id).unwrap()))
        .collect();
    // Repairs, a replacement and a removal pass by the decoys.
    docker(&["rm", "-f", &server.container("web-0")]);
    server.until_running_again("web-0", ours["State"]["StartedAt"].as_str().unwrap());
    server.write("web.yaml", &WEB.replace("3600", "3601"));
    wait_until("it is replaced", || {
        server.inspect("web-0").filter(|container| {
            container["Config"]["Entrypoint"]
                .to_string()
                .contains("3601")
        })
    });
    server.kubectl_ok(&["delete", "csvc", "web"]);
    wait_until("ours is gone", || {
        server.inspect("web-0").is_none().then_some(())
    });
    let after: Vec<_> = decoys
        .iter()
        .map(|decoy| face(&inspect(&decoy.id).unwrap()))
        .collect();
    assert_eq!(before, after);
}

#[test]
fn i1_a_foreign_network_with_the_name_is_left_alone() {
    let server = Server::start();
    let foreign = Foreign::network(&[&format!("clos_{}_shop", server.namespace)]);
    server.write("web.yaml", WEB);
    wait_until("it is said", || {
        let (status, _, message) = server.ready("csvc", "web");
        (status == "False" && message.contains(&format!("clos_{}_shop", server.namespace)))
            .then_some(())
    });
    let networks = docker(&["network", "inspect", &foreign.id]);
    assert!(networks.contains("\"Containers\": {}"), "{networks}");
}

#[test]
fn a_renamed_container_of_ours_is_still_ours() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let id = server.inspect("web-0").unwrap()["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    docker(&["rename", &id, &format!("renamed-{}", server.namespace)]);
    docker(&["kill", &id]);
    server.until_ready("web");
    wait_until("exactly one container of ours runs", || {
        let ours = server.containers();
        let running = ours
            .iter()
            .filter(|id| inspect(id).is_some_and(|container| container["State"]["Running"] == true))
            .count();
        (ours.len() == 1 && running == 1).then_some(())
    });
}

#[test]
fn a_service_deleted_and_made_again_under_the_same_name_gets_a_container_of_its_own() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let before = server.inspect("web-0").unwrap();
    server.kubectl_ok(&["delete", "csvc", "web", "--wait=false"]);
    let manifest = server.scratch("again.yaml");
    std::fs::write(&manifest, server.fill(WEB)).unwrap();
    wait_until("it can be made again", || {
        server
            .kubectl(&["create", "-f", manifest.to_str().unwrap()])
            .status
            .success()
            .then_some(())
            .or_else(|| {
                server
                    .object("csvc", "web")
                    .filter(|object| object["metadata"]["deletionTimestamp"].is_null())
                    .map(|_| ())
            })
    });
    wait_until("another container runs", || {
        let container = server.inspect("web-0")?;
        (container["Id"] != before["Id"] && container["State"]["Running"] == true).then_some(())
    });
    server.until_ready("web");
    assert_eq!(server.containers().len(), 1);
}

#[test]
fn two_installations_on_one_engine_leave_each_other_alone() {
    let first = Server::start_with(&[("web.yaml", WEB)], &["--relist", "1s"]);
    let second = Server::start_with(&[("web.yaml", WEB)], &["--relist", "1s"]);
    first.until_ready("web");
    second.until_ready("web");
    let of_second = face(&second.inspect("web-0").unwrap());
    docker(&["kill", &first.container("web-0")]);
    first.kubectl_ok(&["delete", "csvc", "web"]);
    wait_until("the first one's is gone", || {
        first.containers().is_empty().then_some(())
    });
    assert_eq!(face(&second.inspect("web-0").unwrap()), of_second);
}
