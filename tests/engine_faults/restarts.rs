//! A daemon that is killed and started again, with and without keeping containers alive, while things change.

use std::time::{Duration, Instant};

use clos_harness::{SecondEngine, Server, Setup, wait_until_within};

use crate::world::{RECOVERY, Shop, processes, until_unavailable};

/// From the daemon's first answer on.
const CONVERGED: Duration = Duration::from_secs(30);

/// A service that runs once and takes long.
const JOB: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: job, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  restartPolicy: OnFailure
  command: [sh, -c, "trap 'exit 3' TERM; sleep 3600 & wait"]
  stopGracePeriod: 1s
"#;

/// How often the daemon is killed, or as often as whoever runs this wants.
#[expect(
    clippy::disallowed_methods,
    reason = "how whoever runs this asks for the long version"
)]
fn rounds() -> u32 {
    let asked = std::env::var("CLOS_TEST_ENGINE_KILLS").ok();
    asked.map_or(3, |rounds| rounds.parse().unwrap())
}

fn shop(round: u32) -> Shop {
    Shop {
        version: round,
        replicas: 2 + round % 2,
    }
}

fn running(second: &SecondEngine) -> Server {
    let server = Setup::new().engine(second.engine()).start();
    shop(0).apply_without_pull(&server);
    shop(0).until_there(&server, RECOVERY);
    server
}

/// Kills the daemon, waits until clos says so, starts it again. Answers when it was up.
fn kill_and_start(second: &SecondEngine, server: &Server) -> Instant {
    second.kill_9();
    until_unavailable(server);
    second.start_again();
    Instant::now()
}

fn until_there_after(shop: Shop, server: &Server, up: Instant) {
    shop.until_there(server, CONVERGED.saturating_sub(up.elapsed()));
    assert_eq!(
        server.list("cinst").len(),
        usize::try_from(shop.replicas).unwrap() + 1
    );
}

#[test]
fn a_daemon_that_is_killed_while_things_change_leaves_nothing_twice_and_nothing_missing() {
    let second = SecondEngine::start(&[]);
    let server = running(&second);
    for round in 1..=rounds() {
        shop(round).apply_without_pull(&server);
        let up = kill_and_start(&second, &server);
        until_there_after(shop(round), &server, up);
    }
}

#[test]
fn containers_that_a_killed_daemon_keeps_alive_are_not_touched() {
    let second = SecondEngine::start(&["--live-restore"]);
    let server = running(&second);
    let before = processes(&server);
    for _ in 0..rounds() {
        let up = kill_and_start(&second, &server);
        until_there_after(shop(0), &server, up);
        assert_eq!(processes(&server), before);
    }
    // And while things change.
    for round in 1..=rounds() {
        shop(round).apply_without_pull(&server);
        let up = kill_and_start(&second, &server);
        until_there_after(shop(round), &server, up);
    }
}

#[test]
fn a_run_whose_end_a_killed_daemon_did_not_see_is_not_taken_for_a_success() {
    let second = SecondEngine::start(&[]);
    let server = running(&second);
    let path = server.scratch("job.yaml");
    std::fs::write(&path, server.fill(JOB)).unwrap();
    server.kubectl_ok(&["apply", "-f", path.to_str().unwrap()]);
    let started_at = |before: &str| {
        let job = server.inspect("job-0")?;
        let started = job["State"]["StartedAt"].as_str()?.to_owned();
        (job["State"]["Running"] == true && started.as_str() > before).then_some(started)
    };
    let mut last = wait_until_within(RECOVERY, "the job runs", || started_at(""));
    for _ in 0..2 {
        kill_and_start(&second, &server);
        // A second fault in a row waits for ten seconds.
        last = wait_until_within(CONVERGED, "the job runs again", || {
            let job = server.object("cinst", "job-0").unwrap();
            assert_ne!(job["status"]["state"], "Completed", "{job}");
            started_at(&last)
        });
    }
    let job = server.object("csvc", "job").unwrap();
    assert_ne!(job["status"]["state"], "Completed", "{job}");
}
