//! A container engine of a test's own, which the test may kill, hang and start again. How it is made is `deploy/engine.sh second`'s business.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::{repository, signal, succeeded};
use crate::engine::Engine;
use crate::wait::wait_until;

/// A second dockerd with data and a network namespace of its own (Linux, as root). Removed with all it had when dropped.
pub struct SecondEngine {
    name: String,
    engine: Engine,
}

impl SecondEngine {
    /// Starts one with these options: `--current` for the newest Docker that can be had, `--live-restore`.
    pub fn start(options: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}-{number}", std::process::id());
        // One of the same name is what a killed test with the same process id left.
        run(&name, &["down"]);
        let address = run(&name, options);
        let engine = Engine::at(address);
        Self { name, engine }
    }

    /// The engine, to be looked at and to be given to a server.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its address, such as `unix:///…/docker.sock`.
    pub fn address(&self) -> &str {
        self.engine.address().expect("set at the start")
    }

    /// The process id of its dockerd.
    pub fn pid(&self) -> u32 {
        run(&self.name, &["pid"]).parse().unwrap()
    }

    /// The program and arguments that run another program in its network namespace, where its published ports are.
    pub fn namespace(&self) -> [String; 2] {
        let path = run(&self.name, &["netns"]);
        ["nsenter".to_owned(), format!("--net={path}")]
    }

    /// Sends its dockerd a signal: `STOP` hangs it, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Kills its dockerd without a warning and waits until it is gone. The containers are as such an end leaves them.
    pub fn kill_9(&self) {
        self.end("KILL");
    }

    /// Asks its dockerd to end, as a service manager does, and waits until it is gone.
    pub fn terminate(&self) {
        self.end("TERM");
    }

    /// Starts it again on its data and with its options after it ended or while it hangs, and waits until it answers.
    pub fn start_again(&self) {
        run(&self.name, &["start"]);
    }

    fn end(&self, how: &str) {
        let pid = self.pid();
        signal(pid, how);
        wait_until("the engine is gone", || gone(pid).then_some(()));
    }
}

impl Drop for SecondEngine {
    fn drop(&mut self) {
        let down = script(&self.name, &["down"]).output();
        if !std::thread::panicking() {
            succeeded(&["deploy/engine.sh second down"], down.unwrap());
        }
    }
}

fn script(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(repository().join("deploy/engine.sh"));
    command.args(["second", name]).args(arguments);
    command
}

/// What the script prints, in one line.
fn run(name: &str, arguments: &[&str]) -> String {
    let printed = succeeded(arguments, script(name, arguments).output().unwrap());
    printed.trim().to_owned()
}

/// Whether there is no such process, or only what its parent has not collected yet.
fn gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(") ")
            .next()
            .is_some_and(|state| state.starts_with('Z')),
        Err(_) => true,
    }
}
