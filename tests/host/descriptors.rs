//! Few file descriptors: connections wait, nothing spins, nothing acknowledged is lost.

use std::net::TcpStream;
use std::time::Duration;

use clos_harness::{Server, Setup, WEB, docker, wait_until, wait_until_within};

use crate::api::Api;
use crate::machine::{descriptors, load};

const LIMIT: usize = 64;

fn limits(pid: u32) -> (u64, u64) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let mut numbers = line.split_whitespace().skip(3);
    let mut next = || numbers.next().unwrap().parse().unwrap();
    (next(), next())
}

#[test]
fn the_server_raises_its_limit_of_descriptors_to_what_it_may_have() {
    let server = Setup::new()
        .wrapper(&["prlimit", "--nofile=256:1024"])
        .start();
    assert_eq!(limits(server.pid()), (1024, 1024));
}

fn address(server: &Server) -> String {
    let kubeconfig = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let found = kubeconfig.split("https://").nth(1).unwrap();
    let end = found.find(['"', '\n']).unwrap();
    found[..end].to_owned()
}

#[test]
fn idle_connections_beyond_the_descriptors_take_neither_the_engine_nor_the_processor() {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let server = Setup::new()
        .file("web.yaml", WEB)
        .wrapper(&["prlimit", &limit])
        .start();
    server.until_ready("web");
    let api = Api::of(&server);
    let mut acknowledged = Vec::new();
    let mut write = |name: &str| {
        let answer = api.put_config_map(name, 100);
        if answer.is_ok_and(|answer| answer.code == 201) {
            acknowledged.push(name.to_owned());
            return true;
        }
        false
    };
    assert!(write("before"));
    // They say nothing; what does not fit waits in the kernel.
    let address = address(&server);
    let idle: Vec<TcpStream> = (0..3 * LIMIT)
        .filter_map(|_| TcpStream::connect(&address).ok())
        .collect();
    assert!(idle.len() > LIMIT, "{}", idle.len());
    wait_until("most descriptors are in use", || {
        (descriptors(server.pid()) >= LIMIT / 2).then_some(())
    });
    let (share, _) = load(server.pid(), Duration::from_secs(5), || 0.0);
    assert!(share < 0.2, "{share} of a core");
    // The engine and the store need descriptors, too.
    let before = server.inspect("web-0").unwrap();
    docker(&["rm", "-f", &server.container("web-0")]);
    server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
    write("meanwhile");
    drop(idle);
    wait_until_within(Duration::from_secs(5), "new connections are served", || {
        let answer = Api::of(&server).try_send("GET", "/readyz", None);
        answer.is_ok_and(|answer| answer.code == 200).then_some(())
    });
    assert!(write("after"));
    assert!(
        server.log().lines().count() < 200,
        "the log is flooded:\n{}",
        server.log()
    );
    let names = api.config_map_names();
    for name in &acknowledged {
        assert!(names.contains(name), "{name} was acknowledged and is gone");
    }
}
