//! What engines of several versions show of the same container, and what none of them may be taken for.

use serde_json::{Value, json};

use super::*;
use crate::docker::spec;

const ID: &str = "3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a";

fn read(shown: Value) -> Container {
    container(serde_json::from_value(shown).unwrap())
}

/// What an engine shows of a container right after it was made of these options: its words for what was left out differ by version.
fn shown(options: &clos_plan::container::ContainerOptions, version: &str) -> Value {
    let body = serde_json::to_value(spec::container(options)).unwrap();
    let mut host_config = body["HostConfig"].clone();
    let mut aliases = body["NetworkingConfig"]["EndpointsConfig"][&options.network]["Aliases"]
        .as_array()
        .unwrap()
        .clone();
    if version == "20.10" || version == "24" {
        // Old engines write zeros for what is not limited, and their own short id among the aliases.
        for (field, nothing) in [
            ("NanoCpus", json!(0)),
            ("Memory", json!(0)),
            ("MemorySwap", json!(0)),
            ("CpuQuota", json!(0)),
        ] {
            if host_config[field].is_null() {
                host_config[field] = nothing;
            }
        }
        aliases.push(json!(&ID[..12]));
    }
    if version == "29" {
        // New engines leave out what is empty, and read-only mounts that are not.
        for mount in host_config["Mounts"].as_array_mut().unwrap() {
            if mount["ReadOnly"] == json!(false) {
                mount.as_object_mut().unwrap().remove("ReadOnly");
            }
        }
    }
    json!({
        "Id": ID, "Name": format!("/{}", options.name), "Created": "2026-11-23T09:31:02.512345678Z", "Image": "sha256:aa",
        "State": { "Status": "created", "ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z" },
        "HostConfig": host_config,
        "Config": { "Labels": body["Labels"], "Cmd": null, "Entrypoint": null },
        "NetworkSettings": { "Networks": { &options.network: { "Aliases": aliases, "DNSNames": ["web", &ID[..12]] } } },
    })
}

fn with_state(state: &Value) -> ContainerState {
    read(json!({ "Id": ID, "State": state })).state
}

#[test]
fn i6_what_was_asked_for_reads_back_the_same_on_every_version() {
    for options in [spec::tests::everything(), spec::tests::least()] {
        for version in ["20.10", "24", "27", "29"] {
            let read = read(shown(&options, version));
            assert_eq!(read.name, options.name);
            assert_eq!(read.labels, options.labels, "{version}");
            let live = LiveOptions {
                networks: BTreeMap::from([(options.network.clone(), options.aliases.clone())]),
                limits: options.limits.clone(),
                restart_policy: "no".to_owned(),
                mounts: options.mounts.clone(),
                ports: options.ports.clone(),
            };
            assert_eq!(read.live, live, "{version}");
        }
    }
}

#[test]
fn no_limit_is_no_limit_however_it_is_written() {
    for nothing in [json!(null), json!(0), json!(-1)] {
        let read = read(
            json!({ "Id": ID, "HostConfig": { "PidsLimit": nothing, "Memory": nothing, "NanoCpus": nothing } }),
        );
        assert_eq!(read.live.limits, LimitOptions::default(), "{nothing}");
    }
}

#[test]
fn a_changed_limit_is_seen_whichever_way_it_was_changed() {
    let mut shown = shown(&spec::tests::least(), "20.10");
    shown["HostConfig"]["Memory"] = json!(64 << 20);
    shown["HostConfig"]["PidsLimit"] = json!(10);
    shown["HostConfig"]["CpuQuota"] = json!(50_000);
    let limits = LimitOptions {
        nano_cpus: Some(500_000_000),
        memory: Some(64 << 20),
        pids: Some(10),
    };
    assert_eq!(read(shown.clone()).live.limits, limits);
    shown["HostConfig"]["PidsLimit"] = json!(-1);
    assert_ne!(
        read(shown).live.limits.pids,
        None,
        "the default limit was taken away"
    );
}

#[test]
fn a_changed_restart_policy_is_seen() {
    let policy = |name: &str| {
        read(json!({ "Id": ID, "HostConfig": { "RestartPolicy": { "Name": name } } }))
            .live
            .restart_policy
    };
    assert_eq!(policy(""), "no");
    assert_eq!(policy("no"), "no");
    assert_eq!(policy("unless-stopped"), "unless-stopped");
}

#[test]
fn every_state_is_read() {
    let started_at: Timestamp = "2026-11-23T09:31:02Z".parse().unwrap();
    let finished_at: Timestamp = "2026-11-23T09:31:03Z".parse().unwrap();
    let state = |status: &str| {
        with_state(&json!({ "Status": status, "StartedAt": started_at, "FinishedAt": finished_at }))
    };
    assert_eq!(state("created"), ContainerState::Created);
    assert_eq!(
        state("running"),
        ContainerState::Running {
            started_at,
            health: Health::None
        }
    );
    assert_eq!(state("paused"), ContainerState::Paused { started_at });
    assert_eq!(state("restarting"), ContainerState::Restarting);
    assert_eq!(state("removing"), ContainerState::Removing);
    assert_eq!(state("dead"), ContainerState::Dead);
    let exited = with_state(&json!({
        "Status": "exited", "ExitCode": 137, "OOMKilled": true, "Error": "why", "StartedAt": started_at, "FinishedAt": finished_at,
    }));
    let error = "why".to_owned();
    assert_eq!(
        exited,
        ContainerState::Exited {
            code: 137,
            oom_killed: true,
            error,
            started_at,
            finished_at
        }
    );
}

#[test]
fn a_time_that_never_was_is_the_epoch() {
    let zero = "0001-01-01T00:00:00Z";
    let exited = with_state(
        &json!({ "Status": "exited", "ExitCode": 0, "StartedAt": zero, "FinishedAt": zero }),
    );
    let epoch = Timestamp::UNIX_EPOCH;
    let nothing = ContainerState::Exited {
        code: 0,
        oom_killed: false,
        error: String::new(),
        started_at: epoch,
        finished_at: epoch,
    };
    assert_eq!(exited, nothing);
    assert_eq!(with_state(&json!({})), ContainerState::Created);
}

#[test]
fn the_images_own_health_check_is_read() {
    let log = json!([{ "ExitCode": 0, "Output": "up" }, { "ExitCode": 1, "Output": "no route\n" }]);
    let health = |status: &str| {
        with_state(&json!({ "Status": "running", "Health": { "Status": status, "Log": log } }))
    };
    let said = "no route\n".to_owned();
    for (status, health_read) in [
        ("none", Health::None),
        ("starting", Health::Starting),
        ("healthy", Health::Healthy),
        ("unhealthy", Health::Unhealthy { said }),
    ] {
        assert_eq!(
            health(status),
            ContainerState::Running {
                started_at: Timestamp::UNIX_EPOCH,
                health: health_read
            }
        );
    }
}

#[test]
fn an_image_says_what_it_is_for_and_whether_it_checks_itself() {
    let read = |healthcheck: &Value| {
        let shown = json!({ "Id": "sha256:aa", "Architecture": "arm64", "Os": "linux", "Config": { "Healthcheck": healthcheck } });
        image(serde_json::from_value(shown).unwrap())
    };
    let checked = read(&json!({ "Test": ["CMD-SHELL", "true"] }));
    assert_eq!(
        (
            checked.architecture.as_str(),
            checked.operating_system.as_str(),
            checked.has_health_check
        ),
        ("arm64", "linux", true)
    );
    assert!(!read(&json!({ "Test": ["NONE"] })).has_health_check);
    assert!(!read(&json!(null)).has_health_check);
}

#[test]
fn a_line_of_a_list_differs_with_the_state_and_not_with_the_time() {
    let line = |status: &str, state: &str, networks: &[&str]| {
        let networks: BTreeMap<&str, Value> =
            networks.iter().map(|name| (*name, json!({}))).collect();
        let shown = json!({
            "Id": ID, "Names": ["/web"], "ImageID": "sha256:aa", "State": state, "Status": status,
            "Labels": { "clos.dev/installation": "here", "clos.dev/instance-uid": "uid" }, "NetworkSettings": { "Networks": networks },
        });
        listed(serde_json::from_value(shown).unwrap())
    };
    let first = line("Up 3 minutes (healthy)", "running", &["a", "b"]);
    assert_eq!(
        (
            first.installation.as_str(),
            first.instance_uid.as_str(),
            first.id.as_str()
        ),
        ("here", "uid", ID)
    );
    assert_eq!(first, line("Up 2 hours (healthy)", "running", &["b", "a"]));
    assert_ne!(
        first,
        line("Up 2 hours (unhealthy)", "running", &["a", "b"])
    );
    assert_ne!(first, line("Up 2 hours (healthy)", "running", &["a"]));
    assert_ne!(
        line("Exited (1) 2 hours ago", "exited", &[]),
        line("Exited (0) 2 hours ago", "exited", &[])
    );
}

#[test]
fn a_volume_without_labels_or_options_is_read() {
    let shown = json!({ "Name": "db", "Driver": "local", "Mountpoint": "/x", "Labels": null, "Options": null, "Scope": "local" });
    let read = volume(serde_json::from_value(shown).unwrap());
    assert_eq!(
        (read.options.len(), read.labels.len(), read.driver.as_str()),
        (0, 0, "local")
    );
}

#[test]
fn ports_and_mounts_that_clos_never_asks_for_are_left_out() {
    let read = read(json!({ "Id": ID, "HostConfig": {
        "PortBindings": { "80/sctp": [{ "HostPort": "80" }], "no number/tcp": null, "81/tcp": null },
        "Mounts": [{ "Type": "bind", "Source": "/etc", "Target": "/etc" }],
    } }));
    assert_eq!(
        read.live,
        LiveOptions {
            restart_policy: "no".to_owned(),
            ..LiveOptions::default()
        }
    );
}

#[test]
fn networks_come_in_the_order_in_which_they_were_made() {
    let shown = json!([
        { "Id": "b", "Name": "shop", "Created": "2026-11-23T10:00:00.5Z" },
        { "Id": "c", "Name": "shop", "Created": "2026-11-23T10:00:00.25+00:00" },
        { "Id": "a", "Name": "shop", "Created": "2026-11-23T10:00:00.5Z" },
        { "Id": "d", "Name": "shop", "Created": "2026-11-23T11:00:00+02:00" },
    ]);
    let ids: Vec<String> = networks(serde_json::from_value(shown).unwrap())
        .into_iter()
        .map(|network| network.id)
        .collect();
    assert_eq!(ids, ["d", "c", "a", "b"]);
}
