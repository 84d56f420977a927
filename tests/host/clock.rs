//! A clock that is wrong: set forth, set back, years ahead. Containers, revisions and pauses do not follow it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use clos_harness::{Server, Setup, WEB, docker, wait_until, wait_until_within};
use serde_json::Value;

use crate::api::Api;
use crate::machine::{library, load};

const CRASHING: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: crashing, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "exit 3"]
"#;

/// Makes the server, or another program, believe what the file says about the time. Only the clock of the wall: that of the
/// kernel never jumps.
fn faked(server: &Server) -> [(&'static str, String); 4] {
    let library = library("faketime/libfaketimeMT.so.1")
        .expect("libfaketime is not installed; e2e/tools.sh faults installs it");
    let file = server.scratch("clock");
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Sets the server's clock off the real one, such as `+3600` seconds or `+9y`.
fn set_clock(server: &Server, offset: &str) {
    let new = server.scratch("clock.new");
    fs::write(&new, offset).unwrap();
    fs::rename(new, server.scratch("clock")).unwrap();
}

fn server(files: &[(&str, &str)]) -> Server {
    let setup = files.iter().fold(Setup::new(), |setup, (name, content)| {
        setup.file(name, content)
    });
    let mut server = setup.prepare();
    set_clock(&server, "+0");
    for (name, value) in faked(&server) {
        server.set_env(name, Some(&value));
    }
    server.launch();
    server
}

/// A command with the server's clock.
fn beside(server: &Server, arguments: &[&str]) -> Command {
    let mut command = server.clos_command(arguments);
    command.envs(faked(server));
    command
}

fn started(server: &Server, instance: &str) -> String {
    let container = server.inspect(instance).unwrap();
    container["State"]["StartedAt"].as_str().unwrap().to_owned()
}

fn kill_and_wait(server: &Server, instance: &str) {
    let before = started(server, instance);
    docker(&["kill", &server.container(instance)]);
    let running = || {
        let container = server.inspect(instance)?;
        let later = container["State"]["StartedAt"].as_str()? > before.as_str();
        (later && container["State"]["Running"] == true).then_some(())
    };
    wait_until_within(Duration::from_secs(30), "the container runs again", running);
}

fn revision(answer: &Value) -> u64 {
    let revision = answer["metadata"]["resourceVersion"].as_str().unwrap();
    revision.parse().unwrap()
}

#[test]
fn a_clock_that_jumps_forth_and_back_restarts_nothing_and_stops_neither_repair_nor_revisions() {
    let steady = WEB.replace("name: web", "name: steady");
    let server = server(&[
        ("web.yaml", WEB),
        ("steady.yaml", steady.split("---").nth(1).unwrap()),
    ]);
    server.until_ready("web");
    server.until_ready("steady");
    let api = Api::of(&server);
    let (object, start) = (
        server.object("cinst", "steady-0").unwrap(),
        started(&server, "steady-0"),
    );
    let mut newest = 0;
    for (number, offset) in ["+3600", "-3600", "+0", "-60"].into_iter().enumerate() {
        set_clock(&server, offset);
        let written = api.put_config_map(&format!("step-{number}"), 10).unwrap();
        assert_eq!(written.code, 201, "{written:?}");
        let next = revision(&written.json());
        assert!(next > newest, "{next} after {newest}");
        newest = next;
        kill_and_wait(&server, "web-0");
        server.until_ready("web");
    }
    let (share, _) = load(server.pid(), Duration::from_secs(2), || 0.0);
    assert!(share < 0.2, "{share} of a core");
    assert_eq!(started(&server, "steady-0"), start);
    let after = server.object("cinst", "steady-0").unwrap();
    assert_eq!(after, object, "nothing happened to it");

    // Audit events are in the order of what happened, whatever the clock said.
    let audit = api.get("/audit?limit=500").body;
    let numbers: Vec<u64> = audit
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64())
        .collect();
    assert!(numbers.len() > 4, "{audit}");
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_clock_that_is_set_back_by_an_hour_does_not_make_a_pause_after_crashes_an_hour_longer() {
    let server = server(&[("web.yaml", WEB), ("crashing.yaml", CRASHING)]);
    let restarts = || {
        let instance = server.object("cinst", "crashing-0")?;
        instance["status"]["restarts"].as_u64()
    };
    server.until_reason("cinst", "crashing-0", "CrashLoopBackOff");
    let before = restarts().unwrap();
    set_clock(&server, "-3600");
    wait_until_within(Duration::from_secs(30), "it is started again", || {
        (restarts()? > before).then_some(())
    });
}

#[test]
fn after_years_at_once_certificates_are_renewed_and_nothing_is_restarted() {
    let server = server(&[("web.yaml", WEB)]);
    server.until_ready("web");
    let start = started(&server, "web-0");
    let kubeconfig = fs::read(server.kubeconfig()).unwrap();
    set_clock(&server, "+3500d");
    wait_until("the kubeconfig is renewed", || {
        (fs::read(server.kubeconfig()).unwrap() != kubeconfig).then_some(())
    });
    let answer = beside(&server, &["get", "csvc", "-n", &server.namespace])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(
        answer.status.success() && said.contains("web"),
        "{answer:?}"
    );
    assert_eq!(started(&server, "web-0"), start);
    assert!(
        server.log().contains("the certificate authority ends soon"),
        "{}",
        server.log()
    );

    // The authority is over: that cannot be mended without the user, but nothing falls over.
    set_clock(&server, "+11y");
    kill_and_wait(&server, "web-0");
    // And back: what was made in the future is no use now.
    set_clock(&server, "+0");
    wait_until("the kubeconfig is of this time again", || {
        server
            .kubectl(&["get", "csvc", "web"])
            .status
            .success()
            .then_some(())
    });
    kill_and_wait(&server, "web-0");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
