//! Little memory: twenty services fit into it, and a server that is killed for want of it loses nothing.

use std::fs;
use std::path::PathBuf;

use clos_harness::{Setup, WEB, docker, wait_until};

use crate::api::Api;
use crate::machine::{resident, root};

/// A control group of a test's own with a limit of memory, removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// In the version of control groups that limits memory here; none where neither does, which is said.
    fn limited(megabytes: u64) -> Option<Self> {
        if !root("making a control group") {
            return None;
        }
        let folders = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        for (folder, limit) in folders {
            let name = format!("clos-host-{}-{megabytes}", std::process::id());
            let group = Self(PathBuf::from(folder).join(name));
            if fs::create_dir(&group.0).is_ok()
                && fs::write(group.0.join(limit), (megabytes << 20).to_string()).is_ok()
            {
                return Some(group);
            }
        }
        println!("skipped: no control group here limits memory");
        None
    }

    /// What runs a server in the group.
    fn wrapper(&self) -> [String; 4] {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn in_group(setup: Setup, group: &Cgroup) -> Setup {
    let wrapper = group.wrapper();
    setup.wrapper(&wrapper.each_ref().map(String::as_str))
}

#[test]
fn twenty_services_are_kept_running_in_128_megabytes() {
    let Some(group) = Cgroup::limited(128) else {
        return;
    };
    let service = WEB.split("---").nth(1).unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    let mut manifest = WEB.to_owned();
    for name in &names {
        manifest.push_str("---");
        manifest.push_str(&service.replace("name: web", &format!("name: {name}")));
    }
    let mut server = in_group(Setup::new().file("all.yaml", &manifest), &group).start();
    for name in &names {
        server.until_ready(name);
    }
    let before: Vec<_> = names
        .iter()
        .map(|name| server.inspect(&format!("{name}-0")).unwrap())
        .collect();
    let containers: Vec<String> = names
        .iter()
        .map(|name| server.container(&format!("{name}-0")))
        .collect();
    let kill: Vec<&str> = ["rm", "-f"]
        .into_iter()
        .chain(containers.iter().map(String::as_str))
        .collect();
    docker(&kill);
    for (name, before) in names.iter().zip(before) {
        let started = before["State"]["StartedAt"].as_str().unwrap();
        server.until_running_again(&format!("{name}-0"), started);
    }
    assert!(server.runs(), "{}", server.log());
    let used = resident(server.pid());
    assert!(used < 110.0, "{used} MB");
    assert_eq!(server.stop(), 0);
}

#[test]
fn i5_a_server_that_is_killed_for_want_of_memory_loses_nothing() {
    let Some(group) = Cgroup::limited(20) else {
        return;
    };
    let mut server = in_group(Setup::new().file("web.yaml", WEB), &group).prepare();
    let mut acknowledged = Vec::new();
    let _lines = server.launch_unready();
    wait_until("it ended or answers", || {
        let up = server.log().contains("serving the Kubernetes API");
        (up || !server.runs()).then_some(())
    });
    if server.runs() {
        let api = Api::of(&server);
        for number in 0..100 {
            let name = format!("filler-{number}");
            match api.put_config_map(&name, 500_000) {
                Ok(answer) if answer.code == 201 => acknowledged.push(name),
                // The namespace may not be there yet.
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
    let killed = !server.runs();
    println!("{} acknowledged, killed: {killed}", acknowledged.len());
    if killed {
        assert_ne!(server.until_ended(), 0);
    } else {
        server.kill_9();
    }
    server.set_wrapper(&[]);
    server.launch();
    server.until_ready("web");
    let names = Api::of(&server).config_map_names();
    for name in &acknowledged {
        assert!(names.contains(name), "{name} was acknowledged and is gone");
    }
}
