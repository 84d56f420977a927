//! The engine, the default one or one of a test's own: looked at in process, changed by the `docker` client, and things made in it by hand.
//! What a look is on the wire is in `socket`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::command::{repository, succeeded};
use crate::socket;

/// The image of the tests: busybox without a registry.
pub const IMAGE: &str = "clos-it/busybox:3";

/// The same with a health check that succeeds once `/tmp/ready` exists, for tests of health: the engine starts a process in each such container
/// every second.
pub(crate) const CHECKED: &str = "clos-it/busybox-checked:1";

/// What [`CHECKED`] is made with.
const HEALTH: &str = "HEALTHCHECK --interval=1s --timeout=10s --retries=3 CMD test -e /tmp/ready";

/// How long a look may take before it is taken for one at an engine that does not answer.
const LOOK: Duration = Duration::from_secs(30);

/// Where the engine says what there is, as far as a query that goes on.
const CONTAINERS: &str = "/containers/json?all=1&";
const NETWORKS: &str = "/networks?";
const VOLUMES: &str = "/volumes?";

/// A container engine that tests look at from outside.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    address: Option<String>,
}

/// A container as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Such as `running`.
    pub state: String,
    /// Its program and arguments, in one line.
    pub command: String,
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// The engine at this address, such as `unix:///run/docker.sock`. The default is that of `DOCKER_HOST`, or else where Docker listens.
    pub fn at(address: impl Into<String>) -> Self {
        Self {
            address: Some(address.into()),
        }
    }

    /// Its address, unless it is the default one.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The socket it listens on.
    #[expect(
        clippy::disallowed_methods,
        reason = "how the docker client is told which engine is the default one"
    )]
    pub fn socket(&self) -> PathBuf {
        let default = || std::env::var("DOCKER_HOST").ok();
        let address = self.address.clone().or_else(default);
        let address = address.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        match address.strip_prefix("unix://") {
            Some(path) => path.into(),
            None => panic!("tests look at an engine over its unix socket, which {address} is not"),
        }
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

    /// What the engine says about a container, or nothing when it does not exist or the engine does not answer.
    pub fn inspect(&self, container: &str) -> Option<Value> {
        let (code, said) = self.look(&format!("/containers/{container}/json")).ok()?;
        (code == 200).then_some(said)
    }

    /// Makes the tests' images unless they are there.
    pub fn prepare_images(&self) {
        for (image, changes) in [(IMAGE, &[][..]), (CHECKED, &["--change", HEALTH])] {
            if matches!(self.look(&format!("/images/{image}/json")), Ok((200, _))) {
                continue;
            }
            let mut command = self.command(repository().join("deploy/engine.sh"));
            command.args(["image", image]).args(changes);
            succeeded(&["deploy/engine.sh image"], command.output().unwrap());
        }
    }

    /// All containers of an installation, those that do not run included.
    pub fn containers(&self, installation: &str) -> Vec<Listed> {
        let all = self.list(CONTAINERS, installation).unwrap();
        all.iter().map(Listed::of).collect()
    }

    /// Ids of all containers of an installation.
    pub fn containers_of(&self, installation: &str) -> Vec<String> {
        texts(&self.list(CONTAINERS, installation).unwrap(), "Id")
    }

    /// Names of all networks of an installation.
    pub fn networks_of(&self, installation: &str) -> Vec<String> {
        texts(&self.list(NETWORKS, installation).unwrap(), "Name")
    }

    /// Names of all volumes of an installation.
    pub fn volumes_of(&self, installation: &str) -> Vec<String> {
        texts(&self.list(VOLUMES, installation).unwrap(), "Name")
    }

    /// Removes everything of an installation, as far as it can be removed.
    pub fn remove_all_of(&self, installation: &str) {
        for (list, field, how) in [
            (CONTAINERS, "Id", &["rm", "-f", "-v"][..]),
            (NETWORKS, "Id", &["network", "rm"]),
            (VOLUMES, "Name", &["volume", "rm", "-f"]),
        ] {
            // An engine that is gone has taken everything with it.
            let all = self.list(list, installation).unwrap_or_default();
            if !all.is_empty() {
                let mut command = self.command("docker");
                command.args(how).args(texts(&all, field));
                command.output().unwrap();
            }
        }
    }

    /// What the engine lists of an installation.
    fn list(&self, list: &str, installation: &str) -> Result<Vec<Value>, String> {
        assert!(!installation.is_empty(), "an installation without an id");
        // {"label":["clos.dev/installation=…"]}
        let filter = format!(
            "filters=%7B%22label%22%3A%5B%22clos.dev%2Finstallation%3D{installation}%22%5D%7D"
        );
        let path = format!("{list}{filter}");
        let (code, mut said) = self.look(&path)?;
        // Volumes are in an object with warnings, which has null for none of them.
        if said.get("Volumes").is_some() {
            said = said["Volumes"].take();
        }
        match said {
            Value::Array(all) if code == 200 => Ok(all),
            Value::Null if code == 200 => Ok(Vec::new()),
            said => Err(format!("GET {path} was answered {code}: {said}")),
        }
    }

    fn look(&self, path: &str) -> Result<(u16, Value), String> {
        socket::get(&self.socket(), path, LOOK)
    }
}

impl Listed {
    fn of(listed: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = listed["Labels"].as_object().into_iter().flatten();
        Self {
            name: text(&listed["Names"][0]).trim_start_matches('/').to_owned(),
            state: text(&listed["State"]),
            command: text(&listed["Command"]),
            id: text(&listed["Id"]),
            labels: labels
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
        }
    }
}

/// One field of each.
fn texts(all: &[Value], field: &str) -> Vec<String> {
    let texts = all.iter().filter_map(|one| one[field].as_str());
    texts.map(str::to_owned).collect()
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
        engine.prepare_images();
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
