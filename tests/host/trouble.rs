//! Many services that cannot run, each for another reason: the reason is said, and trying costs little.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::TcpListener;
use std::time::Duration;

use clos_harness::{PATIENCE, Setup, wait_until_within};
use serde_json::{Value, json};

use crate::api::Api;
use crate::idle::services;
use crate::machine::load;

/// The longest pause between two starts of what crashes.
const LONGEST_PAUSE: f64 = 300.0;

/// The reason that is said of what crashes.
const CRASHES: &str = "CrashLoopBackOff";

/// What is wrong with every fifth service: its name, what stands in its declaration, and the reason that is said.
const KINDS: [(&str, &str, &str); 5] = [
    ("fails", r#"command: [sh, -c, "exit 3"]"#, CRASHES),
    ("ends", r#"command: ["true"]"#, CRASHES),
    (
        "hungry",
        "command: [sh, -c, \"sleep 0.1; exec tail /dev/zero\"]\n  resources: {limits: {memory: 6Mi}}",
        CRASHES,
    ),
    ("missing", "", "ImagePullFailed"),
    (
        "taken",
        "command: [sleep, \"3600\"]\n  ports: [{name: http, containerPort: 80, hostPort: PORT}]",
        "PortConflict",
    ),
];

/// Those that crash, or the others.
fn manifest(count: u32, port: u16, crash: bool) -> String {
    let mut text =
        "apiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: {name: shop, namespace: NAMESPACE}\n"
            .to_owned();
    let kinds = (0..count).zip(KINDS.iter().cycle());
    for (number, (name, rest, _)) in kinds.filter(|(_, (.., reason))| (*reason == CRASHES) == crash)
    {
        let image = if *name == "missing" {
            "image: clos-it/missing:1".to_owned()
        } else {
            format!(
                "image: IMAGE\n  {}",
                rest.replace("PORT", &port.to_string())
            )
        };
        write!(
            text,
            "---\napiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: {{name: {name}-{number}, namespace: NAMESPACE}}\nspec:\n  \
             group: shop\n  imagePullPolicy: Never\n  stopGracePeriod: 0s\n  {image}\n"
        )
        .unwrap();
    }
    text
}

/// The instances by name.
fn instances(api: &Api, path: &str) -> Vec<(String, Value)> {
    let list = api.get(path).json();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let name = item["metadata"]["name"].as_str().unwrap().to_owned();
            (name, item["status"].clone())
        })
        .collect()
}

fn reason(status: &Value) -> &str {
    let conditions = status["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|one| one["type"] == "Ready"));
    ready
        .and_then(|ready| ready["reason"].as_str())
        .unwrap_or("")
}

fn wanted(name: &str) -> &'static str {
    let kind = name.split('-').next().unwrap();
    let (_, _, reason) = KINDS.iter().find(|(known, ..)| *known == kind).unwrap();
    reason
}

#[test]
fn services_in_all_kinds_of_trouble_say_why_and_cost_a_call_to_the_engine_a_second_in_a_hundred() {
    let count = services();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let server = Setup::new().start();
    // In one folder, the port that several want would be found before anything is applied.
    let apply = |crash| {
        let path = server.scratch("services.yaml");
        std::fs::write(&path, server.fill(&manifest(count, port, crash))).unwrap();
        server.kubectl_ok(&["apply", "-f", path.to_str().unwrap()]);
    };
    apply(true);
    let api = Api::of(&server);
    let path = format!(
        "/apis/clos.dev/v1alpha1/namespaces/{}/instances",
        server.namespace
    );
    let until_said = |count: usize| {
        let patience = PATIENCE + Duration::from_secs(count as u64);
        // Not all at once: some of those that crash are just being started again.
        let mut said = BTreeSet::new();
        wait_until_within(patience, "every service has said what is wrong", || {
            let all = instances(&api, &path).into_iter();
            let right = all.filter(|(name, status)| reason(status) == wanted(name));
            said.extend(right.map(|(name, _)| name));
            (said.len() == count).then_some(())
        });
    };
    let crashing = (0..count).zip(KINDS.iter().cycle());
    let crashing = crashing
        .filter(|(_, (.., reason))| *reason == CRASHES)
        .count();
    until_said(crashing);

    // As after a long time: the next crash of each is followed by the longest pause. A pass that has begun may write over it.
    let calls = || server.metric("clos_engine_call_seconds_count");
    let restarts = || {
        let all = instances(&api, &path);
        let counts = all
            .iter()
            .filter_map(|(_, status)| status["restarts"].as_f64());
        counts.sum::<f64>()
    };
    let faults = |status: &Value| status["backoff"]["faults"].as_u64().unwrap_or(0);
    let crash_often = || {
        let all = instances(&api, &path);
        for (name, status) in all.iter().filter(|(_, status)| faults(status) < 20) {
            let mut backoff = status["backoff"].clone();
            backoff["faults"] = json!(20);
            let change = json!({"status": {"backoff": backoff}});
            let status = format!("{path}/{name}/status");
            let answer = api.try_send("PATCH", &status, Some(&change)).unwrap();
            assert_eq!(answer.code, 200, "{answer:?}");
        }
        all
    };
    let patience = Duration::from_secs(90);
    wait_until_within(patience, "each has crashed often", || {
        let all = crash_often();
        let often = all.iter().all(|(_, status)| faults(status) >= 20);
        often.then_some(())
    });
    let (called, restarted) = (calls(), restarts());
    wait_until_within(patience, "each waits for the longest pause", || {
        let all = crash_often();
        let waits = all.iter().all(|(_, status)| faults(status) > 20);
        waits.then_some(())
    });
    let each = (calls() - called) / (restarts() - restarted);
    apply(false);
    until_said(count as usize);
    let crashing = f64::from(u32::try_from(crashing).unwrap());
    // One list of everything is in it.
    let window = Duration::from_mins(1);
    // What was begun before all of them wait still ends.
    let share = wait_until_within(Duration::from_mins(4), "few calls are made", || {
        let (share, quiet) = load(server.pid(), window, calls);
        let rate = crashing * each / LONGEST_PAUSE + quiet / window.as_secs_f64();
        println!(
            "{count} services, {crashing} of them crash: {each} calls each time, {quiet} in a minute without, {rate} a second, {share} of a core"
        );
        (rate <= f64::from(count) / 100.0).then_some(share)
    });
    assert!(share < 0.2, "{share} of a core");
    let all = instances(&api, &path);
    for (name, status) in &all {
        assert_eq!(reason(status), wanted(name), "{name}: {status}");
    }
}
