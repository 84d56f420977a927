//! Desired state on a real engine: what is declared, changed, taken back, broken and removed, through the folder of YAML.

use std::io::{Read, Write};
use std::net::TcpStream;

use clos_harness::{Foreign, Server, docker, inspect, wait_until};
use serde_json::Value;

const GROUP: &str =
    "apiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: {name: shop, namespace: NAMESPACE}\n";

const WEB: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "exec sleep 3600"]
  env:
  - {name: COLOUR, value: red}
  stopGracePeriod: 0s
"#;

fn started() -> Server {
    let server = Server::start_with(&[("group.yaml", GROUP), ("web.yaml", WEB)], &[]);
    server.until_ready("web");
    server
}

fn environment(server: &Server, instance: &str) -> String {
    server
        .inspect(instance)
        .map(|container| container["Config"]["Env"].to_string())
        .unwrap_or_default()
}

#[test]
fn a_changed_file_replaces_the_container() {
    let server = started();
    let before = server.inspect("web-0").unwrap();
    server.write("web.yaml", &WEB.replace("red", "green"));
    wait_until("the new environment is there", || {
        environment(&server, "web-0")
            .contains("COLOUR=green")
            .then_some(())
    });
    server.until_ready("web");
    assert_ne!(before["Id"], server.inspect("web-0").unwrap()["Id"]);
    assert_eq!(server.containers().len(), 1);
}

#[test]
fn there_and_back_again_quickly_ends_where_it_began() {
    let server = started();
    for colour in ["green", "red", "green", "red"] {
        server.write("web.yaml", &WEB.replace("red", colour));
    }
    wait_until("it is red and ready", || {
        let object = server.object("csvc", "web")?;
        let declared = object["spec"]["env"][0]["value"] == "red"
            && object["status"]["observedGeneration"] == object["metadata"]["generation"];
        (declared && environment(&server, "web-0").contains("COLOUR=red")).then_some(())
    });
    server.until_ready("web");
    assert_eq!(server.containers().len(), 1);
}

/// Waits until three replicas have a colour; meanwhile never fewer than two run.
fn until_three_are(server: &Server, colour: &str) {
    let what = format!("all are {colour}, and never fewer than two run");
    wait_until(&what, || {
        let listed = server.engine().containers(server.installation());
        let running = listed.iter().filter(|one| one.state == "running").count();
        assert!(
            running >= 2,
            "only {running} of 3 run while one is replaced"
        );
        let wanted = format!("COLOUR={colour}");
        (0..3)
            .all(|number| environment(server, &format!("web-{number}")).contains(&wanted))
            .then_some(())
    });
    server.until_ready("web");
}

fn until_three_run(server: &Server) {
    wait_until("three run", || {
        (server.containers().len() == 3).then_some(())
    });
    server.until_ready("web");
}

#[test]
fn replicas_are_replaced_one_by_one() {
    let server = started();
    server.kubectl_ok(&["scale", "csvc", "web", "--replicas=3"]);
    until_three_run(&server);
    server.write("web.yaml", &WEB.replace("red", "green"));
    until_three_are(&server, "green");
}

#[test]
fn replicas_take_a_changed_secret_one_by_one_and_keep_their_containers_when_its_values_stay() {
    let secret = |colour: &str, label: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys, namespace: NAMESPACE, labels: {{at: {label}}}}}\nstringData: {{colour: {colour}}}\n"
        )
    };
    let web = WEB.replace(
        "value: red",
        "valueFrom: {secretKeyRef: {name: keys, key: colour}}",
    ) + "  replicas: 3\n";
    let folder = [
        ("group.yaml", GROUP),
        ("keys.yaml", &secret("red", "first")),
        ("web.yaml", &web),
    ];
    let server = Server::start_with(&folder, &[]);
    until_three_run(&server);
    server.write("keys.yaml", &secret("green", "first"));
    until_three_are(&server, "green");
    let before = server.containers();
    server.write("keys.yaml", &secret("green", "second"));
    let version = wait_until("the label is there", || {
        let keys = server.object("secret", "keys")?;
        let version = keys["metadata"]["resourceVersion"].clone();
        (keys["metadata"]["labels"]["at"] == "second").then_some(version)
    });
    wait_until("all instances have taken note of it", || {
        let noted = |number| {
            let instance = server.object("cinst", &format!("web-{number}"));
            instance.is_some_and(|one| one["spec"]["values"][0]["resourceVersion"] == version)
        };
        (0..3).all(noted).then_some(())
    });
    server.until_ready("web");
    assert_eq!(server.containers(), before);
}

#[test]
fn i7_an_invalid_change_leaves_the_last_good_version_running_and_is_said() {
    let server = started();
    let before = server.inspect("web-0").unwrap();
    server.write(
        "web.yaml",
        &WEB.replace("stopGracePeriod: 0s", "stopGracePeriod: soon"),
    );
    wait_until("the mistake is logged with its place", || {
        let log = server.log();
        (log.contains("web.yaml:") && log.contains("stopGracePeriod")).then_some(())
    });
    assert_eq!(server.inspect("web-0").unwrap()["Id"], before["Id"]);
    server.write("web.yaml", &WEB.replace("red", "blue"));
    wait_until("the mended file is applied", || {
        environment(&server, "web-0")
            .contains("COLOUR=blue")
            .then_some(())
    });
}

#[test]
fn i8_an_emptied_folder_removes_nothing() {
    let server = started();
    for name in ["namespace.yaml", "group.yaml", "web.yaml"] {
        server.remove(name);
    }
    wait_until("it is said that nothing is pruned", || {
        server
            .log()
            .contains("nothing is declared any more")
            .then_some(())
    });
    assert_eq!(server.containers().len(), 1);
    assert!(server.object("csvc", "web").is_some());
}

#[test]
fn i8_a_half_written_file_removes_nothing() {
    let server = started();
    std::fs::write(server.source().join("web.yaml"), &server.fill(WEB)[..60]).unwrap();
    wait_until("the mistake is logged", || {
        server.log().contains("web.yaml").then_some(())
    });
    assert!(server.object("csvc", "web").is_some());
    assert_eq!(server.containers().len(), 1);
}

#[test]
fn a_removed_file_removes_the_service_and_its_container_but_not_its_volume() {
    let volume = "\n  mounts:\n  - {mountPath: /data, volume: {name: data}}\n";
    let server = Server::start_with(
        &[
            ("group.yaml", GROUP),
            ("web.yaml", &(WEB.trim_end().to_owned() + volume)),
        ],
        &[],
    );
    server.until_ready("web");
    let name = format!("clos_{}_data", server.namespace);
    docker(&["volume", "inspect", &name]);
    server.remove("web.yaml");
    wait_until("the container is gone", || {
        server.containers().is_empty().then_some(())
    });
    wait_until("the objects are gone", || {
        (server.object("csvc", "web").is_none() && server.object("cinst", "web-0").is_none())
            .then_some(())
    });
    docker(&["volume", "inspect", &name]);
}

#[test]
fn a_removed_group_takes_its_network_with_it() {
    let server = started();
    let network = format!("clos_{}_shop", server.namespace);
    docker(&["network", "inspect", &network]);
    server.remove("web.yaml");
    wait_until("the container is gone", || {
        server.containers().is_empty().then_some(())
    });
    server.remove("group.yaml");
    wait_until("the group is gone", || {
        server.object("cgrp", "shop").is_none().then_some(())
    });
    let left = docker(&[
        "network",
        "ls",
        "-q",
        "--filter",
        &format!("name=^{network}$"),
    ]);
    assert_eq!(left.trim(), "");
}

#[test]
fn scaled_to_zero_and_back() {
    let server = started();
    server.kubectl_ok(&["scale", "csvc", "web", "--replicas=0"]);
    wait_until("no container is left", || {
        server.containers().is_empty().then_some(())
    });
    server.kubectl_ok(&["scale", "csvc", "web", "--replicas=1"]);
    server.until_ready("web");
    assert_eq!(server.containers().len(), 1);
}

#[test]
fn a_service_deleted_while_it_is_made_leaves_nothing() {
    let server = started();
    for round in 0..3 {
        let name = format!("brief{round}");
        server.write(
            "brief.yaml",
            &WEB.replace("name: web", &format!("name: {name}")),
        );
        wait_until("the service exists", || {
            server.object("csvc", &name).map(|_| ())
        });
        server.remove("brief.yaml");
        wait_until("the service is gone", || {
            server.object("csvc", &name).is_none().then_some(())
        });
    }
    wait_until("only the first container is left", || {
        (server.containers().len() == 1).then_some(())
    });
}

#[test]
fn stopped_services_keep_their_container_and_start_again() {
    let server = started();
    let before = server.inspect("web-0").unwrap();
    server.kubectl_ok(&[
        "patch",
        "csvc",
        "web",
        "--type=merge",
        "-p",
        r#"{"spec":{"state":"Stopped"}}"#,
    ]);
    server.until_reason("csvc", "web", "Suspended");
    wait_until("it is stopped", || {
        (server.inspect("web-0")?["State"]["Running"] == false).then_some(())
    });
    server.kubectl_ok(&[
        "patch",
        "csvc",
        "web",
        "--type=merge",
        "-p",
        r#"{"spec":{"state":"Running"}}"#,
    ]);
    let after = server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
    assert_eq!(before["Id"], after["Id"]);
}

#[test]
fn a_secret_that_arrives_later_is_waited_for_and_its_change_is_rolled_out() {
    let server = started();
    let keeper = WEB.replace("name: web", "name: keeper").replace(
        "value: red",
        "valueFrom: {secretKeyRef: {name: keys, key: colour}}",
    );
    server.write("keeper.yaml", &keeper);
    let message = server.until_reason("csvc", "keeper", "ConfigMissing");
    assert!(message.contains("keys"), "{message}");
    let secret = |value: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys, namespace: NAMESPACE}}\nstringData: {{colour: {value}}}\n"
        )
    };
    server.write("keys.yaml", &secret("canary-one-1234"));
    server.until_ready("keeper");
    assert!(environment(&server, "keeper-0").contains("COLOUR=canary-one-1234"));
    server.write("keys.yaml", &secret("canary-two-5678"));
    wait_until("the new value is there", || {
        environment(&server, "keeper-0")
            .contains("COLOUR=canary-two-5678")
            .then_some(())
    });
    // I9: no secret in a log, label, event or audit entry.
    server.until_ready("keeper");
    let labels = server.inspect("keeper-0").unwrap()["Config"]["Labels"].to_string();
    let events = server.kubectl_ok(&["get", "events", "-o", "yaml"]);
    let audit = String::from_utf8(
        server
            .clos(&["audit", "-o", "json", "--limit", "1000"])
            .stdout,
    )
    .unwrap();
    let objects = server.kubectl_ok(&["get", "clos", "-A", "-o", "yaml"]);
    assert!(
        audit.contains("keeper-0"),
        "the audit tells of the instance: {audit}"
    );
    for (place, text) in [
        ("log", server.log()),
        ("labels", labels),
        ("events", events),
        ("audit", audit),
        ("objects", objects),
    ] {
        assert!(!text.contains("canary-"), "a secret stands in {place}");
    }
}

/// What a web server on loopback answers, if it does. The engine's own listener is there before the container's.
fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_fixed_host_port_is_claimed_published_and_given_back() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let server = started();
    let httpd = WEB
        .replace("name: web", "name: httpd")
        .replace("exec sleep 3600", "exec httpd -f -p 8080 -h /www")
        .replace(
            "group: shop",
            &format!(
                "group: shop\n  ports: [{{name: http, containerPort: 8080, hostPort: {port}}}]"
            ),
        );
    server.write("httpd.yaml", &httpd);
    server.until_ready("httpd");
    let ports = server.list("cport");
    let held: Vec<&str> = ports
        .iter()
        .filter(|item| item["spec"]["port"] == port)
        .map(|item| item["spec"]["holder"]["instance"].as_str().unwrap())
        .collect();
    assert_eq!(held, ["httpd-0"]);
    let answer = wait_until("the port answers", || {
        get(port).filter(|answer| !answer.is_empty())
    });
    assert!(answer.contains("hello from clos"), "{answer}");
    server.remove("httpd.yaml");
    wait_until("the port is given back", || {
        let held = |item: &Value| item["spec"]["port"] == port;
        (!server.list("cport").iter().any(held)).then_some(())
    });
}

#[test]
fn a_port_held_by_something_foreign_is_a_condition_that_names_the_holder_until_it_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let server = started();
    let service = |name: &str, port: u16| {
        WEB.replace("name: web", &format!("name: {name}")).replace(
            "group: shop",
            &format!("group: shop\n  ports: [{{containerPort: 80, hostPort: {port}}}]"),
        )
    };
    server.write("process.yaml", &service("process", port));
    let message = server.until_reason("csvc", "process", "PortConflict");
    assert!(
        message.contains(&format!("host port {port} is in use by process "))
            && message.contains(&format!("(pid {})", std::process::id())),
        "{message}"
    );
    drop(taken);
    server.until_ready("process");

    // The same with a foreign container.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let name = format!("foreign-{}", server.namespace);
    let foreign = Foreign::container(&["--name", &name, "-p", &format!("127.0.0.1:{port}:80")]);
    server.write("container.yaml", &service("container", port));
    let message = server.until_reason("csvc", "container", "PortConflict");
    let said = format!("host port {port} is in use by container {name} (");
    assert!(message.contains(&said), "{message}");
    assert_eq!(inspect(&foreign.id).unwrap()["State"]["Running"], true);
}

#[test]
fn two_services_that_want_one_port_do_not_both_get_it() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let server = started();
    let service = |name: &str| {
        WEB.replace("name: web", &format!("name: {name}")).replace(
            "group: shop",
            &format!("group: shop\n  ports: [{{containerPort: 80, hostPort: {port}}}]"),
        )
    };
    server.write("first.yaml", &service("first"));
    server.until_ready("first");
    // In one folder it would be found before anything is applied.
    let second = server.scratch("second.yaml");
    std::fs::write(&second, server.fill(&service("second"))).unwrap();
    server.kubectl_ok(&["apply", "-f", second.to_str().unwrap()]);
    let message = server.until_reason("csvc", "second", "PortConflict");
    assert!(message.contains("first-0"), "{message}");
    server.remove("first.yaml");
    server.until_ready("second");
}
