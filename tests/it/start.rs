//! Starting and stopping the server: what it says, what it refuses, what it leaves behind.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use clos_harness::{Server, WEB, inspect, wait_until};

/// Runs a command that must fail, and gives its exit code and standard error.
fn refused(server: &Server, more: &[&str]) -> (i32, String) {
    let mut command = server.command();
    let output = command
        .args(more)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_restarted_server_recreates_nothing_and_leaves_containers_running_meanwhile() {
    let mut server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let before = server.inspect("web-0").unwrap();
    assert_eq!(server.stop(), 0, "SIGTERM is a clean stop");
    assert_eq!(
        inspect(&server.container("web-0")).unwrap()["State"]["Running"],
        true
    );
    server.launch();
    server.until_ready("web");
    let after = server.inspect("web-0").unwrap();
    assert_eq!(before["Id"], after["Id"]);
    assert_eq!(before["State"]["StartedAt"], after["State"]["StartedAt"]);
}

#[test]
fn a_killed_server_repairs_at_its_next_start_what_happened_meanwhile() {
    let mut server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let before = server.inspect("web-0").unwrap();
    server.kill_9();
    clos_harness::docker(&["rm", "-f", &server.container("web-0")]);
    server.launch();
    let after = server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
    assert_ne!(before["Id"], after["Id"]);
}

#[test]
fn kill_9_in_the_middle_of_converging_leaves_exactly_the_desired_containers_afterwards() {
    let service = |name: &str| {
        WEB.split("---")
            .nth(1)
            .unwrap()
            .replace("name: web", &format!("name: {name}"))
    };
    let files: Vec<(String, String)> = (0..12)
        .map(|number| (format!("s{number}.yaml"), service(&format!("s{number}"))))
        .collect();
    let mut server = Server::start_with(&[("web.yaml", WEB)], &[]);
    for (name, content) in &files {
        server.write(name, content);
    }
    // Each time a few more containers exist, the server is killed and started again.
    for wanted in [2, 5, 9] {
        wait_until("some containers exist", || {
            (server.containers().len() >= wanted).then_some(())
        });
        server.kill_9();
        server.launch();
    }
    server.until_ready("web");
    for number in 0..12 {
        server.until_ready(&format!("s{number}"));
    }
    assert_eq!(server.containers().len(), 13);
}

#[test]
fn a_second_server_on_the_same_data_says_who_holds_it() {
    let server = Server::start();
    let (code, error) = refused(&server, &[]);
    assert_eq!(code, 1);
    assert!(
        error.contains(server.data_dir().to_str().unwrap()),
        "{error}"
    );
    assert!(error.contains(&server.pid().to_string()), "{error}");
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let server = Server::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = server.scratch("other-data");
    let (code, error) = refused(
        &server,
        &["--listen", &address, "--data-dir", data.to_str().unwrap()],
    );
    assert_eq!(code, 1);
    assert!(
        error.contains(&format!("{address} is in use by process")),
        "{error}"
    );
    assert!(
        error.contains(&format!("pid {}", std::process::id())),
        "{error}"
    );
}

#[test]
fn no_engine_is_said_in_one_sentence_with_what_to_do() {
    let server = Server::start();
    let data = server.scratch("other-data");
    let (missing, left) = (server.scratch("no.sock"), server.scratch("left.sock"));
    // Nobody listens on what an engine that was killed has left.
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    for (socket, reason) in [(missing, "no such socket"), (left, "connection refused")] {
        let address = format!("unix://{}", socket.display());
        let (code, error) = refused(
            &server,
            &["--engine", &address, "--data-dir", data.to_str().unwrap()],
        );
        let said = format!(
            "clos: cannot reach a container engine at {address}: {reason}. Start Docker, or set --engine or DOCKER_HOST\n"
        );
        assert_eq!((code, error), (1, said));
    }
}

#[test]
fn i12_all_mistakes_of_the_configuration_are_said_at_once() {
    let server = Server::start();
    let (code, error) = refused(
        &server,
        &[
            "--relist",
            "60",
            "--concurrency",
            "0",
            "--log-format",
            "xml",
        ],
    );
    assert_eq!(code, 1);
    for part in [
        "--relist: \"60\"",
        "--concurrency: \"0\"",
        "--log-format: \"xml\"",
    ] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
}

#[test]
fn the_kubeconfig_and_the_keys_are_for_their_owner_only() {
    let server = Server::start();
    let private = [
        server.kubeconfig(),
        server.data_dir().join("pki/ca.key"),
        server.data_dir().join("pki/server.key"),
        server.data_dir().join("store.redb"),
    ];
    for path in private {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[test]
fn who_shows_no_certificate_gets_nothing() {
    let server = Server::start();
    let kubeconfig = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let without: Vec<&str> = kubeconfig
        .lines()
        .filter(|line| !line.contains("client-"))
        .collect();
    let stripped = without.join("\n");
    let path = server.scratch("anonymous");
    let forged = stripped.replace("  user:\n", "  user: {token: forged}\n");
    std::fs::write(&path, forged).unwrap();
    let raw = |url: &str| {
        let path = path.to_str().unwrap();
        server.kubectl(&["--kubeconfig", path, "get", "--raw", url])
    };
    for closed in [
        "/api/v1/namespaces",
        "/apis/clos.dev/v1alpha1/services",
        "/metrics",
        "/audit",
        "/openapi/v3",
    ] {
        let output = raw(closed);
        assert!(!output.status.success(), "{closed}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("nauthorized"),
            "{closed}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn i2_an_idle_minute_writes_nothing() {
    let server = Server::start_with(&[("web.yaml", WEB)], &["--relist", "1s"]);
    server.until_ready("web");
    let revision = || {
        let list = server.read("/apis/clos.dev/v1alpha1/services?limit=1");
        list.unwrap().json()["metadata"]["resourceVersion"].clone()
    };
    let metric = |name: &str| server.metric(name);
    // Statuses settle, then ten relists pass without a write.
    let settled = wait_until("nothing is written any more", || {
        let before = (revision(), metric("clos_store_writes_total"));
        let relists = metric("clos_engine_call_seconds_count{operation=\"list\"");
        wait_until("two relists pass", || {
            (metric("clos_engine_call_seconds_count{operation=\"list\"") >= relists + 2.0)
                .then_some(())
        });
        (before == (revision(), metric("clos_store_writes_total"))).then_some(before)
    });
    let relists = metric("clos_engine_call_seconds_count{operation=\"list\"");
    wait_until("ten relists pass", || {
        (metric("clos_engine_call_seconds_count{operation=\"list\"") >= relists + 10.0)
            .then_some(())
    });
    assert_eq!(settled, (revision(), metric("clos_store_writes_total")));
}

#[test]
fn the_first_lines_say_version_engine_address_and_source() {
    let mut server = Server::start();
    server.stop();
    let mut child = server.command().spawn().unwrap();
    let mut text = String::new();
    let mut stdout = child.stdout.take().unwrap();
    wait_until("it says ready", || {
        let mut bytes = [0; 1024];
        let read = stdout.read(&mut bytes).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        text.contains("ready in").then_some(())
    });
    clos_harness::signal(child.id(), "TERM");
    child.wait().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with(&format!(
            "clos {}  standalone  data ",
            env!("CARGO_PKG_VERSION")
        )),
        "{text}"
    );
    assert!(lines[0].contains("engine Docker "), "{text}");
    assert!(
        !text.contains("created"),
        "nothing is created at a second start: {text}"
    );
    assert!(
        text.contains("Kubernetes API  https://127.0.0.1:"),
        "{text}"
    );
    assert!(
        text.contains(&format!("source {}", server.source().display())),
        "{text}"
    );
}
