//! Real kubectl against the embedded API: every command the first users type.

use std::io::Write;
use std::process::{Command, Stdio};

use clos_harness::{Server, WEB, spawn, succeeded, wait_until};

/// A server whose service was applied with kubectl, not from the folder.
fn applied() -> (Server, String) {
    let server = Server::start();
    let path = server.scratch("web.yaml");
    std::fs::write(&path, server.fill(WEB)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let said = server.kubectl_ok(&["apply", "-f", &path]);
    assert_eq!(
        said,
        "group.clos.dev/shop created\nservice.clos.dev/web created\n"
    );
    server.until_ready("web");
    (server, path)
}

#[test]
fn apply_says_created_then_unchanged_then_configured() {
    let (server, path) = applied();
    let said = server.kubectl_ok(&["apply", "-f", &path]);
    assert!(said.contains("group.clos.dev/shop unchanged"), "{said}");
    std::fs::write(&path, server.fill(&WEB.replace("3600", "3601"))).unwrap();
    let said = server.kubectl_ok(&["apply", "-f", &path]);
    assert!(said.contains("service.clos.dev/web configured"), "{said}");
    server.until_ready("web");
}

#[test]
fn get_shows_tables_yaml_and_names_for_kinds_short_names_and_the_category() {
    let (server, _) = applied();
    let table = server.kubectl_ok(&["get", "csvc"]);
    assert!(
        table.starts_with("NAME   GROUP   READY   STATE     IMAGE"),
        "{table}"
    );
    assert!(table.contains("web    shop    1/1     Running"), "{table}");
    let all = server.kubectl_ok(&["get", "clos", "-A"]);
    for part in [
        "service.clos.dev/web",
        "group.clos.dev/shop",
        "instance.clos.dev/web-0",
        "host.clos.dev/",
    ] {
        assert!(all.contains(part), "{part} is missing in {all}");
    }
    let yaml = server.kubectl_ok(&["get", "csvc", "web", "-o", "yaml"]);
    for part in [
        "kind: Service",
        "replicas: 1",
        "imagePullPolicy: Never",
        "observedGeneration:",
    ] {
        assert!(yaml.contains(part), "{part} is missing in {yaml}");
    }
    assert_eq!(
        server.kubectl_ok(&["get", "services.clos.dev", "-o", "name"]),
        "service.clos.dev/web\n"
    );
    let wide = server.kubectl_ok(&["get", "cinst", "-o", "wide"]);
    assert!(wide.contains("CONTAINER"), "{wide}");
}

#[test]
fn get_watch_prints_changes_as_they_happen() {
    let (server, _) = applied();
    let mut command = server.kubectl_command(&["get", "csvc", "web", "-w", "--no-headers"]);
    command.stdout(Stdio::piped());
    let (mut child, lines) = spawn(command);
    let first = lines.recv_timeout(clos_harness::PATIENCE).unwrap();
    assert!(first.contains("1/1"), "{first}");
    server.kubectl_ok(&["scale", "csvc", "web", "--replicas=2"]);
    wait_until("the watch shows two of two", || {
        lines
            .recv_timeout(clos_harness::PATIENCE)
            .unwrap()
            .contains("2/2")
            .then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn edit_changes_the_object() {
    let (server, _) = applied();
    let script = server.scratch("editor.sh");
    std::fs::write(
        &script,
        "#!/bin/sh\nsed -i 's/replicas: 1/replicas: 2/' \"$1\"\n",
    )
    .unwrap();
    succeeded(
        &["chmod"],
        Command::new("chmod")
            .arg("+x")
            .arg(&script)
            .output()
            .unwrap(),
    );
    let mut command = server.kubectl_command(&["edit", "csvc", "web"]);
    command.env("KUBE_EDITOR", &script);
    let said = succeeded(&["kubectl edit"], command.output().unwrap());
    assert_eq!(said, "service.clos.dev/web edited\n");
    assert_eq!(server.object("csvc", "web").unwrap()["spec"]["replicas"], 2);
}

#[test]
fn scale_label_annotate_and_patch_change_what_they_say() {
    let (server, _) = applied();
    assert_eq!(
        server.kubectl_ok(&["scale", "csvc", "web", "--replicas=2"]),
        "service.clos.dev/web scaled\n"
    );
    assert_eq!(
        server.kubectl_ok(&["label", "csvc", "web", "tier=front"]),
        "service.clos.dev/web labeled\n"
    );
    assert_eq!(
        server.kubectl_ok(&["annotate", "csvc", "web", "note=x"]),
        "service.clos.dev/web annotated\n"
    );
    assert_eq!(
        server.kubectl_ok(&[
            "patch",
            "csvc",
            "web",
            "--type=json",
            "-p",
            r#"[{"op":"replace","path":"/spec/replicas","value":3}]"#
        ]),
        "service.clos.dev/web patched\n"
    );
    let object = server.object("csvc", "web").unwrap();
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(object["metadata"]["labels"]["tier"], "front");
    assert_eq!(
        server.kubectl_ok(&["get", "csvc", "-l", "tier=front", "-o", "name"]),
        "service.clos.dev/web\n"
    );
    assert_eq!(
        server.kubectl_ok(&["get", "csvc", "-l", "tier!=front", "-o", "name"]),
        ""
    );
}

#[test]
fn wait_ends_when_the_condition_is_true() {
    let (server, _) = applied();
    let said = server.kubectl_ok(&[
        "wait",
        "csvc",
        "web",
        "--for=condition=Ready",
        "--timeout=60s",
    ]);
    assert_eq!(said, "service.clos.dev/web condition met\n");
}

#[test]
fn describe_shows_conditions_and_the_events_that_tell_the_story() {
    let (server, _) = applied();
    let before = server.inspect("web-0").unwrap();
    clos_harness::docker(&["kill", &server.container("web-0")]);
    server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
    let service = wait_until("the events tell of it", || {
        let service = server.kubectl_ok(&["describe", "csvc", "web"]);
        (service.contains("Drift") && service.contains("Repaired")).then_some(service)
    });
    for part in [
        "Name:         web",
        "Conditions:",
        "instance/web-0",
        "was killed",
    ] {
        assert!(service.contains(part), "{part} is missing in {service}");
    }
}

#[test]
fn explain_knows_every_field_with_its_default() {
    let server = Server::start();
    let spec = server.kubectl_ok(&["explain", "csvc.spec"]);
    for part in [
        "KIND:       Service",
        "VERSION:    v1alpha1",
        "image\t<string> -required-",
        "replicas\t<integer>",
    ] {
        assert!(spec.contains(part), "{part} is missing in {spec}");
    }
    let field = server.kubectl_ok(&["explain", "csvc.spec.stopGracePeriod"]);
    assert!(
        field.contains("How long a container that was asked to stop may take"),
        "{field}"
    );
}

#[test]
fn delete_waits_until_the_container_is_gone() {
    let (server, path) = applied();
    let said = server.kubectl_ok(&["delete", "csvc", "web", "--timeout=60s"]);
    assert!(
        said.starts_with("service.clos.dev \"web\" deleted"),
        "{said}"
    );
    wait_until("the container is gone", || {
        server.containers().is_empty().then_some(())
    });
    let said = server.kubectl_ok(&["delete", "-f", &path, "--ignore-not-found", "--timeout=60s"]);
    assert!(said.contains("group.clos.dev \"shop\" deleted"), "{said}");
}

#[test]
fn delete_with_cascade_foreground_and_orphan_returns() {
    let (server, path) = applied();
    server.kubectl_ok(&[
        "delete",
        "csvc",
        "web",
        "--cascade=foreground",
        "--timeout=60s",
    ]);
    wait_until("the instance is gone", || {
        server.object("cinst", "web-0").is_none().then_some(())
    });
    server.kubectl_ok(&["apply", "-f", &path]);
    server.until_ready("web");
    server.kubectl_ok(&["delete", "csvc", "web", "--cascade=orphan", "--timeout=60s"]);
    let orphan = server.object("cinst", "web-0").unwrap();
    assert!(
        orphan["metadata"]["ownerReferences"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{}",
        orphan["metadata"]
    );
}

#[test]
fn a_namespace_is_deleted_with_everything_in_it() {
    let (server, _) = applied();
    server.remove("namespace.yaml");
    server.kubectl_ok(&["delete", "namespace", &server.namespace, "--timeout=60s"]);
    wait_until("the containers are gone", || {
        server.containers().is_empty().then_some(())
    });
}

#[test]
fn i12_all_mistakes_are_answered_at_once_with_their_paths() {
    let server = Server::start();
    let bad = WEB.replace("stopGracePeriod: 0s", "stopGracePeriod: soon\n  replicas: -1\n  ports: [{containerPort: 80, hostPort: 80000}]\n  update: {strategy: StartFirst}");
    let path = server.scratch("bad.yaml");
    std::fs::write(&path, server.fill(&bad)).unwrap();
    let output = server.kubectl(&["apply", "-f", path.to_str().unwrap()]);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    for part in ["spec.stopGracePeriod", "spec.replicas"] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
    assert!(server.object("csvc", "web").is_none());
}

#[test]
fn what_is_not_carried_out_yet_is_refused_with_a_sentence() {
    let server = Server::start();
    let refused = [
        (
            "healthCheck: {tcp: {port: 80}}",
            "health checks declared here are not carried out by this version",
        ),
        (
            "update: {strategy: StartFirst}",
            "starting the new container before the old one stops is not carried out by this version",
        ),
        (
            "ports: [{containerPort: 80, hostPort: auto}]",
            "choosing a host port is not carried out by this version",
        ),
        (
            "placement: {hostSelector: {a: b}}",
            "placement is not carried out by this version",
        ),
    ];
    for (field, sentence) in refused {
        let path = server.scratch("refused.yaml");
        std::fs::write(
            &path,
            server.fill(&WEB.replace("stopGracePeriod: 0s", field)),
        )
        .unwrap();
        let output = server.kubectl(&["apply", "-f", path.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && error.contains(sentence),
            "{field}: {error}"
        );
    }
}

#[test]
fn secrets_and_config_maps_can_be_applied_read_changed_and_deleted() {
    let server = Server::start();
    let manifest = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {a: one}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata: {a: one}\n";
    let apply = |text: &str| {
        let mut command = server.kubectl_command(&["apply", "-f", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        succeeded(&["kubectl apply"], child.wait_with_output().unwrap())
    };
    assert_eq!(
        apply(manifest),
        "secret/keys created\nconfigmap/words created\n"
    );
    assert_eq!(
        server.object("secret", "keys").unwrap()["data"]["a"],
        "b25l"
    );
    assert_eq!(
        apply(&manifest.replace("one", "two")),
        "secret/keys configured\nconfigmap/words configured\n"
    );
    assert_eq!(
        server.object("secret", "keys").unwrap()["data"]["a"],
        "dHdv"
    );
    server.kubectl_ok(&["delete", "secret/keys", "configmap/words"]);
    assert!(server.object("secret", "keys").is_none());
}
