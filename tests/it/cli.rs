//! The commands against a running server: what they print, and their exit codes.

use clos_harness::{Server, WEB, docker, succeeded, wait_until};

fn manifest(server: &Server, name: &str, content: &str) -> String {
    let path = server.scratch(name);
    std::fs::write(&path, server.fill(content)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Exit code, standard output and standard error of a clos command.
fn clos(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    let output = server.clos(arguments);
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// How often the engine was asked to change something.
fn mutating_calls(server: &Server) -> f64 {
    let calls = |word| format!("clos_engine_call_seconds_count{{operation=\"{word}");
    ["create", "start", "stop", "remove", "pull", "unpause"]
        .map(|word| server.metric(&calls(word)))
        .iter()
        .sum()
}

#[test]
fn plan_shows_every_call_with_its_cause_and_changes_nothing() {
    let server = Server::start();
    let path = manifest(&server, "web.yaml", WEB);
    let network = format!("name=clos_{}_shop", server.namespace);
    let state = || {
        let everything = server.kubectl_ok(&[
            "get",
            "clos,secrets,configmaps,namespaces",
            "-A",
            "-o",
            "json",
        ]);
        (
            everything,
            server.containers(),
            docker(&["network", "ls", "-q", "--filter", &network]),
            mutating_calls(&server),
        )
    };
    wait_until("the server has written what it writes at its start", || {
        let hosts = server.list("chost");
        (hosts.len() == 1 && !hosts[0]["status"].is_null()).then_some(())
    });
    let before = state();
    let (code, plan, error) = clos(&server, &["plan", "-f", &path]);
    assert_eq!(code, 2, "{plan}{error}");
    assert_eq!(before, state());
    for part in [
        "create network",
        "create container",
        "start container",
        "Nothing was changed.",
    ] {
        assert!(plan.contains(part), "{part} is missing in {plan}");
    }
    let (code, _, error) = clos(&server, &["apply", "-f", &path, "--wait"]);
    assert_eq!(code, 0, "{error}");
    let (code, plan, error) = clos(&server, &["plan", "-f", &path]);
    assert_eq!(
        (code, plan.trim()),
        (0, "Plan: everything is as declared."),
        "{error}"
    );
}

#[test]
fn i12_apply_says_all_mistakes_with_file_line_and_path_and_applies_nothing() {
    let server = Server::start();
    let bad = WEB.replace("stopGracePeriod: 0s", "stopGracePeriod: soon\n  imagee: x");
    let path = manifest(&server, "bad.yaml", &bad);
    let (code, _, error) = clos(&server, &["apply", "-f", &path]);
    assert_eq!(code, 1);
    assert!(
        error.contains("bad.yaml:14: Service web: spec.stopGracePeriod"),
        "{error}"
    );
    assert!(
        error.contains(
            "bad.yaml:15: Service web: spec.imagee: unknown field; did you mean \"image\"?"
        ),
        "{error}"
    );
    assert!(
        error.contains("2 mistakes, nothing was applied. The running services were not touched."),
        "{error}"
    );
    assert!(server.object("cgrp", "shop").is_none());
}

#[test]
fn apply_and_wait_ends_badly_at_once_when_the_answer_is_known() {
    let server = Server::start();
    let missing = manifest(
        &server,
        "missing.yaml",
        &WEB.replace("IMAGE", "clos-test/nowhere:1"),
    );
    let (code, _, error) = clos(
        &server,
        &["apply", "-f", &missing, "--wait", "--timeout", "50s"],
    );
    assert_eq!(code, 1);
    assert!(error.contains("clos-test/nowhere:1"), "{error}");
}

#[test]
fn apply_and_wait_ends_at_once_when_the_command_cannot_be_run() {
    let server = Server::start();
    let begun = std::time::Instant::now();
    for (name, command) in [
        ("nosuchprogram", "[nosuchprogram]"),
        ("/etc/passwd", "[/etc/passwd]"),
    ] {
        let wrong = WEB.lines().map(|line| {
            if line.trim_start().starts_with("command:") {
                format!("  command: {command}")
            } else {
                line.to_owned()
            }
        });
        let wrong = wrong.collect::<Vec<_>>().join("\n");
        let path = manifest(&server, "wrong.yaml", &wrong);
        let (code, out, error) = clos(
            &server,
            &["apply", "-f", &path, "--wait", "--timeout", "100s"],
        );
        assert_eq!(code, 1, "{out}{error}");
        assert!(error.contains(name), "{error}");
        assert!(error.contains("More: "), "{error}");
    }
    assert!(begun.elapsed().as_secs() < 100, "{:?}", begun.elapsed());
}

#[test]
fn apply_and_wait_prints_the_last_lines_of_a_container_that_fails() {
    let server = Server::start();
    let crashing = manifest(
        &server,
        "crashing.yaml",
        &WEB.replace(
            "echo hello from web; exec sleep 3600",
            "echo the disk is on fire; exit 9",
        ),
    );
    let (code, out, error) = clos(
        &server,
        &["apply", "-f", &crashing, "--wait", "--timeout", "55s"],
    );
    assert_eq!(code, 1, "{out}{error}");
    assert!(error.contains("the disk is on fire"), "{error}");
    assert!(error.contains("clos logs web-0"), "{error}");
}

#[test]
fn a_deadline_that_passes_ends_with_124() {
    let server = Server::start();
    let waiting = manifest(
        &server,
        "waiting.yaml",
        &WEB.replace(
            "group: shop\n",
            "group: shop\n  dependsOn: [{service: nobody}]\n",
        ),
    );
    let (code, _, error) = clos(
        &server,
        &["apply", "-f", &waiting, "--wait", "--timeout", "2s"],
    );
    assert_eq!(code, 124, "{error}");
    assert!(error.contains("Not as declared after 2s"), "{error}");
    // In two seconds a busy machine may have found nothing out; in the end the reason is there.
    let reason = server.until_reason("csvc", "web", "DependencyNotReady");
    assert!(reason.contains("nobody"), "{reason}");
}

#[test]
fn status_get_logs_and_audit_show_what_is() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let (code, status, _) = clos(&server, &["status"]);
    assert_eq!(code, 0);
    assert!(
        status.contains("SHOP")
            && status.contains("web")
            && status.contains("1/1")
            && status.contains("Running"),
        "{status}"
    );
    let (_, json, _) = clos(&server, &["status", "-o", "json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).unwrap()[0]["services"][0]["ready"],
        "1/1"
    );
    let (_, table, _) = clos(&server, &["get", "csvc", "-n", &server.namespace]);
    assert!(table.starts_with("NAME   GROUP   READY"), "{table}");
    let (_, logs, error) = clos(&server, &["logs", "web", "-n", &server.namespace]);
    assert_eq!(logs, "hello from web\n", "{error}");
    let (code, audit, error) = clos(
        &server,
        &["audit", "--object", "web-0", "--verb", "reconcile"],
    );
    assert_eq!(code, 0, "{error}");
    assert!(
        audit.contains(&format!("create container clos_{}_web-0", server.namespace)),
        "{audit}"
    );
    let (_, lines, _) = clos(&server, &["audit", "--object", "web-0", "-o", "json"]);
    for line in lines.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            entry["seq"].is_u64() && entry["actor"].is_string() && entry["verb"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn restart_stop_and_start_are_declared_state() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let before = server.inspect("web-0").unwrap();
    let namespace = ["-n", &server.namespace];
    let run = |words: &[&str]| {
        let (code, _, error) = clos(&server, &[words, &namespace].concat());
        assert_eq!(code, 0, "{words:?}: {error}");
    };
    run(&["restart", "web"]);
    let after = server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
    assert_eq!(before["Id"], after["Id"]);
    run(&["stop", "group/shop"]);
    wait_until("it is stopped", || {
        (server.inspect("web-0")?["State"]["Running"] == false).then_some(())
    });
    run(&["start", "group/shop"]);
    server.until_running_again("web-0", after["State"]["StartedAt"].as_str().unwrap());
    let (code, _, error) = clos(&server, &["stop", "wep", "-n", &server.namespace]);
    assert_eq!(code, 1);
    assert!(
        error.contains("there is no service wep") && error.contains("web"),
        "{error}"
    );
}

#[test]
fn down_removes_what_was_made_and_keeps_volumes_unless_asked() {
    let server = Server::start();
    let with_volume =
        WEB.trim_end().to_owned() + "\n  mounts: [{mountPath: /data, volume: {name: data}}]\n";
    let path = manifest(&server, "web.yaml", &with_volume);
    let volume = format!("clos_{}_data", server.namespace);
    let volumes = || {
        docker(&[
            "volume",
            "ls",
            "-q",
            "--filter",
            &format!("name=^{volume}$"),
        ])
    };
    assert_eq!(clos(&server, &["apply", "-f", &path, "--wait"]).0, 0);
    let (code, _, error) = clos(&server, &["down", "shop", "-n", &server.namespace]);
    assert_eq!(code, 1, "without a terminal it wants --yes");
    assert!(error.contains("--yes"), "{error}");
    let (code, _, error) = clos(&server, &["down", "shop", "-n", &server.namespace, "--yes"]);
    assert_eq!(code, 0, "{error}");
    assert!(server.containers().is_empty());
    assert_eq!(volumes().trim(), volume);
    assert_eq!(clos(&server, &["apply", "-f", &path, "--wait"]).0, 0);
    let (code, _, error) = clos(&server, &["down", "--all", "--volumes", "--yes"]);
    assert_eq!(code, 0, "{error}");
    assert!(server.containers().is_empty());
    assert_eq!(volumes().trim(), "");
}

#[test]
fn without_a_server_every_command_says_so_in_one_sentence() {
    let mut server = Server::start();
    server.stop();
    for words in [
        &["status"][..],
        &["get", "clos"],
        &["audit"],
        &["stop", "web"],
    ] {
        let (code, _, error) = clos(&server, words);
        assert_eq!(code, 1);
        assert!(
            error.contains("cannot reach the server at https://127.0.0.1:")
                && error.contains("Is `clos serve` running?"),
            "{words:?}: {error}"
        );
        assert_eq!(error.trim().lines().count(), 1, "{error}");
    }
}

#[test]
fn a_proxy_that_the_environment_names_is_not_asked_for_a_server_on_this_machine() {
    let server = Server::start();
    let mut command = server.clos_command(&["get", "csvc"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    succeeded(&["clos get csvc"], command.output().unwrap());
}
