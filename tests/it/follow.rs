//! Commands that go on until they are told to stop: waiting, following logs and the audit journal.

use std::io::Read;
use std::process::{Child, Stdio};

use clos_harness::{Lines, PATIENCE, Server, WEB, docker, signal, spawn};

fn follow(server: &Server, arguments: &[&str]) -> (Child, Lines) {
    let mut command = server.clos_command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    spawn(command)
}

/// The next line that holds a text.
fn until(lines: &Lines, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("no line came with {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn ctrl_c_ends_the_waiting_with_130_and_not_the_change() {
    let server = Server::start();
    let path = server.scratch("waiting.yaml");
    let waiting = WEB.replace(
        "group: shop\n",
        "group: shop\n  dependsOn: [{service: nobody}]\n",
    );
    std::fs::write(&path, server.fill(&waiting)).unwrap();
    let mut command = server.clos_command(&["apply", "-f", path.to_str().unwrap(), "--wait"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, lines) = spawn(command);
    until(&lines, "nobody");
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(
        said.contains("Stopped waiting. What was applied stays applied"),
        "{said}"
    );
    assert!(server.object("csvc", "web").is_some());
}

#[test]
fn logs_are_followed_into_the_next_run_and_into_the_next_container() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let (child, lines) = follow(&server, &["logs", "web", "-f", "-n", &server.namespace]);
    until(&lines, "hello from web");
    docker(&["kill", &server.container("web-0")]);
    until(&lines, "hello from web");
    docker(&["rm", "-f", &server.container("web-0")]);
    until(&lines, "hello from web");
    end(child);
}

#[test]
fn the_audit_journal_is_followed() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let (child, lines) = follow(&server, &["audit", "--object", "web-0", "-f"]);
    until(&lines, "create container");
    docker(&["rm", "-f", &server.container("web-0")]);
    until(&lines, "create container");
    end(child);
}

#[test]
fn an_object_is_printed_as_yaml_and_the_version_of_all_three_is_told() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let printed = |arguments: &[&str]| {
        let output = server.clos(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let yaml = printed(&["get", "csvc", "web", "-n", &server.namespace, "-o", "yaml"]);
    let yaml: Vec<&str> = yaml.lines().collect();
    for line in ["kind: Service", "  group: shop", "  stopGracePeriod: 0s"] {
        assert!(yaml.contains(&line), "{line} is missing in {yaml:#?}");
    }
    let version = printed(&["version"]);
    for part in [env!("CARGO_PKG_VERSION"), "server", "engine"] {
        assert!(version.to_lowercase().contains(part), "{part}: {version}");
    }
}
