//! Faults by hand on a real engine: whatever is done to a container, it is as declared again, and it is said why it was not.

use serde_json::Value;

use clos_harness::{Server, docker, wait_until};

const SERVICES: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: {name: shop, namespace: NAMESPACE}
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: web, namespace: NAMESPACE}
spec:
  group: shop
  image: CHECKED
  imagePullPolicy: Never
  command: [sh, -c, "trap 'exit 0' TERM; touch /tmp/ready; sleep 3600 & wait"]
  resources: {limits: {cpu: "0.5", memory: 64Mi}}
  stopGracePeriod: 1s
"#;

fn started() -> (Server, Value) {
    let server = Server::start_with(&[("web.yaml", SERVICES)], &[]);
    server.until_ready("web");
    let container = server.inspect("web-0").unwrap();
    (server, container)
}

fn started_at(container: &Value) -> &str {
    container["State"]["StartedAt"].as_str().unwrap()
}

#[test]
fn a_container_killed_through_the_engine_is_started_again_in_place() {
    let (server, before) = started();
    docker(&["kill", &server.container("web-0")]);
    let after = server.until_running_again("web-0", started_at(&before));
    assert_eq!(before["Id"], after["Id"]);
}

#[test]
fn a_container_whose_process_is_killed_from_the_host_is_started_again() {
    let (server, before) = started();
    clos_harness::signal(
        u32::try_from(before["State"]["Pid"].as_u64().unwrap()).unwrap(),
        "KILL",
    );
    server.until_running_again("web-0", started_at(&before));
}

#[test]
fn a_container_stopped_by_hand_is_started_again() {
    let (server, before) = started();
    docker(&["stop", "-t", "1", &server.container("web-0")]);
    server.until_running_again("web-0", started_at(&before));
}

#[test]
fn a_removed_container_is_made_anew() {
    let (server, before) = started();
    docker(&["rm", "-f", &server.container("web-0")]);
    let after = server.until_running_again("web-0", started_at(&before));
    assert_ne!(before["Id"], after["Id"]);
    server.until_ready("web");
    assert_eq!(server.containers().len(), 1);
}

#[test]
fn a_frozen_container_is_thawed() {
    let (server, _) = started();
    docker(&["pause", &server.container("web-0")]);
    wait_until("it is thawed", || {
        (server.inspect("web-0")?["State"]["Paused"] == false).then_some(())
    });
    server.until_ready("web");
}

#[test]
fn all_containers_removed_at_once_are_all_made_anew() {
    let (server, _) = started();
    server.kubectl_ok(&["scale", "csvc", "web", "--replicas=5"]);
    wait_until("five run", || {
        (server.containers().len() == 5).then_some(())
    });
    server.until_ready("web");
    let old = server.containers();
    let mut arguments = vec!["rm", "-f"];
    arguments.extend(old.iter().map(String::as_str));
    docker(&arguments);
    wait_until("five new ones run", || {
        let new = server.containers();
        (new.len() == 5 && new.iter().all(|id| !old.contains(id))).then_some(())
    });
    server.until_ready("web");
}

#[test]
fn limits_changed_by_hand_are_put_back() {
    let (server, _) = started();
    docker(&[
        "update",
        "--memory",
        "128m",
        "--memory-swap",
        "256m",
        &server.container("web-0"),
    ]);
    wait_until("the limit is as declared", || {
        (server.inspect("web-0")?["HostConfig"]["Memory"] == 64 << 20).then_some(())
    });
    server.until_ready("web");
}

#[test]
fn a_container_taken_off_its_network_is_put_right() {
    let (server, before) = started();
    let network = format!("clos_{}_shop", server.namespace);
    docker(&[
        "network",
        "disconnect",
        "-f",
        &network,
        before["Id"].as_str().unwrap(),
    ]);
    wait_until("it is on its network again", || {
        server.inspect("web-0")?["NetworkSettings"]["Networks"]
            .get(&network)
            .map(|_| ())
    });
    server.until_ready("web");
}

#[test]
fn a_crash_loop_is_put_off_and_counted_and_says_what_it_is() {
    let (server, _) = started();
    server.write(
        "bad.yaml",
        &SERVICES
            .split("---")
            .nth(1)
            .unwrap()
            .replace("name: web", "name: bad")
            .replace("trap 'exit 0' TERM", "echo no config >&2; exit 3"),
    );
    let message = server.until_reason("csvc", "bad", "CrashLoopBackOff");
    assert!(message.ends_with("last lines: \"no config\""), "{message}");
    assert!(message.contains("exited with 3"), "{message}");
    assert!(message.contains("next start"), "{message}");
    let instance = server.object("cinst", "bad-0").unwrap();
    assert!(
        instance["status"]["backoff"]["faults"].as_u64().unwrap() >= 2,
        "{instance}"
    );
    assert_eq!(instance["status"]["exitCode"], 3);
}

#[test]
fn a_container_whose_health_check_fails_is_said_to_be_unhealthy_until_it_succeeds_again() {
    let (server, before) = started();
    let container = server.container("web-0");
    let docker = |command: &[&str]| {
        let all = [&["exec", &container][..], command].concat();
        server.engine().docker(&all);
    };
    docker(&["rm", "/tmp/ready"]);
    let message = server.until_reason("csvc", "web", "Unhealthy");
    let words = format!("container {container} runs, its health check fails");
    assert!(message.contains(&words), "{message}");
    docker(&["touch", "/tmp/ready"]);
    server.until_ready("web");
    let after = server.inspect("web-0").unwrap();
    assert_eq!(started_at(&after), started_at(&before));
}

#[test]
fn people_are_not_punished_kills_by_hand_are_no_faults() {
    let (server, mut before) = started();
    for _ in 0..4 {
        // A second of running tells a kill from a crash at the start.
        wait_until("it has run for a second", || {
            let uptime = docker(&[
                "exec",
                &server.container("web-0"),
                "sh",
                "-c",
                "ps -o pid,time 2>/dev/null | wc -l; sleep 1; echo ok",
            ]);
            uptime.contains("ok").then_some(())
        });
        docker(&["kill", &server.container("web-0")]);
        before = server.until_running_again("web-0", started_at(&before));
    }
    let instance = server.object("cinst", "web-0").unwrap();
    assert!(
        instance["status"]["backoff"].is_null(),
        "{}",
        instance["status"]
    );
}

#[test]
fn a_job_completes_and_is_not_started_again() {
    let (server, _) = started();
    let job = SERVICES
        .split("---")
        .nth(1)
        .unwrap()
        .replace("name: web", "name: job")
        .replace("group: shop", "group: shop\n  restartPolicy: OnFailure");
    server.write(
        "job.yaml",
        &job.replace(
            "trap 'exit 0' TERM; touch /tmp/ready; sleep 3600 & wait",
            "echo done",
        ),
    );
    server.until_reason("csvc", "job", "Completed");
    let ended = server.inspect("job-0").unwrap();
    assert_eq!(ended["State"]["ExitCode"], 0);
    assert_eq!(ended["State"]["Running"], false);
}

#[test]
fn dependencies_are_started_in_order() {
    let (server, _) = started();
    let base = SERVICES.split("---").nth(1).unwrap();
    let with = |name: &str, more: &str, command: &str| {
        base.replace("name: web", &format!("name: {name}"))
            .replace("group: shop", &format!("group: shop\n  {more}"))
            .replace(
                "trap 'exit 0' TERM; touch /tmp/ready; sleep 3600 & wait",
                command,
            )
    };
    let db = with(
        "db",
        "description: slow to become healthy",
        "sleep 2; touch /tmp/ready; exec sleep 3600",
    );
    let job = with(
        "job",
        "restartPolicy: OnFailure\n  dependsOn: [{service: db, condition: Healthy}]",
        "exit 0",
    );
    let app = with(
        "app",
        "dependsOn: [{service: job, condition: Completed}]",
        "touch /tmp/ready; exec sleep 3600",
    );
    server.write("all.yaml", &format!("{app}\n---\n{job}\n---\n{db}"));
    for service in ["db", "job", "app"] {
        server.until_ready(service);
    }
    let at = |instance: &str| {
        server.inspect(instance).unwrap()["State"]["StartedAt"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(at("db-0") < at("job-0"), "db before job");
    assert!(at("job-0") < at("app-0"), "job before app");
}

#[test]
fn services_of_a_group_find_each_other_by_name() {
    let (server, _) = started();
    let caller = SERVICES
        .split("---")
        .nth(1)
        .unwrap()
        .replace("name: web", "name: caller")
        .replace(
            "trap 'exit 0' TERM; touch /tmp/ready; sleep 3600 & wait",
            "until nslookup web; do sleep 0.2; done; touch /tmp/ready; exec sleep 3600",
        );
    server.write("caller.yaml", &caller);
    server.until_ready("caller");
    wait_until("its health check succeeds", || {
        (server.inspect("caller-0")?["State"]["Health"]["Status"] == "healthy").then_some(())
    });
}
