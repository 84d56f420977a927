//! The engine as the `docker` client shows it, and things made in it by hand. It may be the default one or one of a test's own.

use std::process::{Command, Output};

use serde_json::Value;

use crate::command::{repository, succeeded};

/// The image of the tests: busybox without a registry. Its health check succeeds once `/tmp/ready` exists.
pub const IMAGE: &str = "clos-it/busybox:2";

/// A container engine that tests look at from outside.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    address: Option<String>,
}

impl Engine {
    /// The engine at this address, such as `unix:///run/docker.sock`. The default is the one that the `docker` client finds.
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            address: Some(address.into()),
        }
    }

    /// Its address, unless it is the default one.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// A program that finds this engine.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some(address) = &self.address {
            command.env("DOCKER_HOST", address);
        }
        command
    }

    /// Runs the docker client, however it ends.
    pub fn try_docker(&self, arguments: &[&str]) -> Output {
        self.command("docker").args(arguments).output().unwrap()
    }

    /// Runs the docker client, which must succeed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        succeeded(arguments, self.try_docker(arguments))
    }

    /// What the engine says about a container, or nothing when it does not exist.
    pub fn inspect(&self, container: &str) -> Option<Value> {
        let output = self.try_docker(&["container", "inspect", container]);
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        list.get(0).cloned()
    }

    /// Makes the tests' image unless it is there.
    pub fn prepare_image(&self) {
        let mut command = self.command(repository().join("deploy/engine.sh"));
        command.args([
            "image",
            IMAGE,
            "--change",
            "HEALTHCHECK --interval=1s --timeout=10s --retries=3 CMD test -e /tmp/ready",
        ]);
        succeeded(&["deploy/engine.sh image"], command.output().unwrap());
    }

    /// Ids of all containers of an installation.
    pub fn containers_of(&self, installation: &str) -> Vec<String> {
        self.of(&["ps", "-aq", "--no-trunc"], installation)
    }

    /// Ids of all networks of an installation.
    pub fn networks_of(&self, installation: &str) -> Vec<String> {
        self.of(&["network", "ls", "-q", "--no-trunc"], installation)
    }

    /// Names of all volumes of an installation.
    pub fn volumes_of(&self, installation: &str) -> Vec<String> {
        self.of(&["volume", "ls", "-q"], installation)
    }

    /// Removes everything of an installation, as far as it can be removed.
    pub fn remove_all_of(&self, installation: &str) {
        self.remove(&["rm", "-f", "-v"], self.containers_of(installation));
        self.remove(&["network", "rm"], self.networks_of(installation));
        self.remove(&["volume", "rm", "-f"], self.volumes_of(installation));
    }

    fn remove(&self, how: &[&str], what: Vec<String>) {
        if !what.is_empty() {
            let mut command = self.command("docker");
            command.args(how).args(what).output().unwrap();
        }
    }

    fn of(&self, list: &[&str], installation: &str) -> Vec<String> {
        assert!(!installation.is_empty(), "an installation without an id");
        let filter = format!("label=clos.dev/installation={installation}");
        let all: Vec<&str> = list.iter().copied().chain(["--filter", &filter]).collect();
        let printed = String::from_utf8_lossy(&self.try_docker(&all).stdout).into_owned();
        printed.split_whitespace().map(str::to_owned).collect()
    }
}

/// Runs the docker client on the default engine, which must succeed.
pub fn docker(arguments: &[&str]) -> String {
    Engine::default().docker(arguments)
}

/// What the default engine says about a container, or nothing when it does not exist.
pub fn inspect(container: &str) -> Option<Value> {
    Engine::default().inspect(container)
}

/// Something made in the default engine by hand; removed when dropped.
pub struct Foreign {
    remove: &'static [&'static str],
    /// Its id.
    pub id: String,
}

impl Foreign {
    /// Runs a container by hand with these `docker run` arguments before the image, and sleeps in it.
    pub fn container(arguments: &[&str]) -> Self {
        let engine = Engine::default();
        engine.prepare_image();
        let mut all = vec!["run", "-d"];
        all.extend(arguments);
        all.extend([IMAGE, "sleep", "3600"]);
        Self {
            remove: &["rm", "-f", "-v"],
            id: engine.docker(&all).trim().to_owned(),
        }
    }

    /// Makes a network by hand.
    pub fn network(arguments: &[&str]) -> Self {
        let mut all = vec!["network", "create"];
        all.extend(arguments);
        Self {
            remove: &["network", "rm"],
            id: docker(&all).trim().to_owned(),
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let mut all = self.remove.to_vec();
        all.push(&self.id);
        Engine::default().try_docker(&all);
    }
}
