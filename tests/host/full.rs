//! No space left for the data: writes are refused in words, everything else goes on, and ends by itself.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use clos_harness::{Answer, Server, Setup, WEB, docker, wait_until, wait_until_within};
use serde_json::Value;

use crate::api::Api;
use crate::machine::{Mount, load, root};

/// What may take as long as the pauses between tries on a full disk.
const RECOVERY: Duration = Duration::from_secs(30);

/// A program that fails at once when it is told to.
const CRASHING: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: crashing, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "echo started; until test -e /tmp/crash; do sleep 0.1; done; exit 3"]
  stopGracePeriod: 0s
"#;

/// A server with a running service whose data lies on a file system of its own.
fn server(options: &str) -> (Server, Mount) {
    let mut server = Setup::new().file("web.yaml", WEB).prepare();
    let mount = Mount::tmpfs(server.data_dir(), options);
    server.launch();
    server.until_ready("web");
    (server, mount)
}

fn killed_and_repaired(server: &Server) {
    let before = server.inspect("web-0").unwrap();
    docker(&["kill", &server.container("web-0")]);
    server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
}

/// Creates `ConfigMaps` until one is refused; gives the names of those that were acknowledged, and the refusal.
fn until_refused(api: &Api) -> (Vec<String>, Answer) {
    let mut acknowledged = Vec::new();
    loop {
        let name = format!("filler-{}", acknowledged.len());
        let answer = api.put_config_map(&name, 200_000).unwrap();
        if answer.code != 201 {
            return (acknowledged, answer);
        }
        acknowledged.push(name);
    }
}

fn until_written(api: &Api, name: &str) {
    wait_until_within(RECOVERY, "writes are taken again", || {
        (api.put_config_map(name, 10).unwrap().code == 201).then_some(())
    });
}

fn is_refused_for_space(answer: &Answer) {
    assert!([503, 507].contains(&answer.code), "{answer:?}");
    let status: Value = answer.json();
    assert_eq!(status["kind"], "Status");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("no space left"), "{message}");
}

#[test]
fn a_full_disk_refuses_writes_in_words_and_everything_else_goes_on_until_there_is_space() {
    if !root("mounting a small file system") {
        return;
    }
    let (server, mount) = server("size=32m");
    let api = Api::of(&server);
    let (mut acknowledged, refusal) = until_refused(&api);
    is_refused_for_space(&refusal);
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());

    let ready = api.get("/readyz");
    assert_eq!(ready.code, 500, "{ready:?}");
    assert!(ready.body.contains("the disk is full"), "{ready:?}");
    assert_eq!(api.get("/livez").code, 200);
    for name in [&acknowledged[0], acknowledged.last().unwrap()] {
        let path = format!("{}/{name}", api.config_maps());
        assert_eq!(api.get(&path).code, 200);
    }
    killed_and_repaired(&server);

    mount.remount("size=64m");
    until_written(&api, "after");
    acknowledged.push("after".to_owned());
    wait_until_within(RECOVERY, "the server is ready", || {
        (api.get("/readyz").code == 200).then_some(())
    });
    // What could not be said meanwhile is said now.
    wait_until_within(RECOVERY, "the repair is told", || {
        let instance = server.object("cinst", "web-0")?;
        let (told, real) = (
            instance["status"]["startedAt"].as_str()?,
            server.inspect("web-0")?,
        );
        let real = real["State"]["StartedAt"].as_str()?.to_owned();
        (told[..19] == real[..19] && instance["status"]["state"] == "Running").then_some(())
    });
    wait_until_within(RECOVERY, "the repair is recorded", || {
        let audit = api.get("/audit?limit=500&verb=reconcile").body;
        let repair = |line: &&str| line.contains("\"repaired\"") && line.contains("web-0");
        (audit.lines().filter(repair).count() == 1).then_some(())
    });
    let names = api.config_map_names();
    for name in &acknowledged {
        assert!(names.contains(name), "{name} was acknowledged and is gone");
    }
}

#[test]
fn a_server_whose_disk_is_full_does_not_spin_and_keeps_the_pauses_of_what_crashes() {
    if !root("mounting a small file system") {
        return;
    }
    let (mut server, mount) = server("size=32m");
    mount.fill();
    let api = Api::of(&server);
    let (_, refusal) = until_refused(&api);
    is_refused_for_space(&refusal);
    killed_and_repaired(&server);
    let calls = || server.metric("clos_engine_call_seconds_count");
    let lines = server.log().lines().count();
    let (share, calls) = load(server.pid(), Duration::from_secs(8), calls);
    let lines = server.log().lines().count() - lines;
    assert!(share < 0.25, "{share} of a core");
    assert!(calls < 40.0, "{calls} engine calls in 8 s");
    assert!(lines < 60, "{lines} lines of log in 8 s:\n{}", server.log());

    // It opens while it is full, and goes on as soon as it is not.
    server.kill_9();
    mount.fill();
    server.launch();
    let api = Api::of(&server);
    assert_eq!(api.get(&api.config_maps()).code, 200);
    killed_and_repaired(&server);
    fs::remove_file(server.data_dir().join("ballast")).unwrap();
    until_written(&api, "after");
    server.until_ready("web");
}

#[test]
fn what_crashes_while_the_disk_is_full_is_put_off_longer_and_longer_although_that_cannot_be_noted()
{
    if !root("mounting a small file system") {
        return;
    }
    let (server, mount) = server("size=32m");
    server.write("crashing.yaml", CRASHING);
    server.until_ready("crashing");
    mount.fill();
    let api = Api::of(&server);
    until_refused(&api);
    let container = server.container("crashing-0");
    let starts = || docker(&["logs", &container]).lines().count();
    let begun = starts();
    docker(&["exec", &container, "touch", "/tmp/crash"]);
    wait_until("it was started again", || (starts() > begun).then_some(()));
    let (share, _) = load(server.pid(), Duration::from_secs(12), || 0.0);
    let tried = starts() - begun;
    // At once, and after 10 s.
    assert!(tried <= 2, "started again {tried} times in 12 s");
    assert!(share < 0.25, "{share} of a core");
}

#[test]
fn a_server_without_inodes_goes_on_and_starts_again_and_the_first_start_says_why_it_cannot() {
    if !root("mounting a small file system") {
        return;
    }
    let (mut server, mount) = server("size=32m,nr_inodes=200");
    mount.fill_inodes();
    let api = Api::of(&server);
    assert_eq!(
        api.put_config_map("without-inodes", 1000).unwrap().code,
        201
    );
    assert_eq!(server.stop(), 0);
    server.launch();
    let api = Api::of(&server);
    assert!(
        api.config_map_names()
            .contains(&"without-inodes".to_owned())
    );
    killed_and_repaired(&server);

    let first = Setup::new().prepare();
    let mount = Mount::tmpfs(first.data_dir(), "size=32m,nr_inodes=20");
    mount.fill_inodes();
    let output = first.command().stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    assert!(said.contains("there is no space left for"), "{said}");
}
