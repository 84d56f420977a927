//! The run's own corner of the world: a server, its engine, the names of this run, and what was done so far. Steps are carried out in `declare`
//! and `faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, bail};
use clos_harness::{Engine, Listed, Server, Setup, repository};
use clos_resources::names::LABEL_NAMESPACE;
use serde_json::Value;

use crate::api::{Acknowledged, Api, PATIENCE};
use crate::cost::Sampler;
use crate::journal::{ByKubectl, Token};
use crate::manifest::{self, Names, VALUES};
use crate::model::{GROUPS, Image, Model, PORTS};
use crate::pause;

/// Ports are looked for from here on: below those that the kernel gives away by itself.
const FIRST_PORT: u16 = 21_000;

/// What a run works on, and what it has done.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) names: Names,
    pub(crate) sampler: Sampler,
    /// The name of the engine, when it is one of the run's own.
    pub(crate) own_engine: Option<String>,
    api: Option<Api>,
    /// Writes that were answered with success.
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) by_kubectl: Vec<ByKubectl>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) decoys: Vec<MadeByHand>,
    /// When restarts were asked for, by service.
    pub(crate) restarts: BTreeMap<usize, String>,
    /// Paths of objects that are declared no more and may still be there.
    pub(crate) leaving: BTreeSet<String>,
    /// Volumes that were ever there.
    pub(crate) volumes: BTreeSet<String>,
    /// Faults for which nothing was there at that moment.
    pub(crate) missed: u32,
}

/// Something that clos must leave as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MadeByHand {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) face: String,
}

impl World {
    /// A server on a folder with both groups and both objects with values. The engine is the default one, or one of this name of the run's own.
    pub(crate) fn start(own_engine: Option<String>, model: &Model) -> anyhow::Result<Self> {
        let engine = match &own_engine {
            None => Engine::default(),
            Some(name) => Engine::at(second(&[name])?.trim()),
        };
        prepare_images(&engine)?;
        let server = Setup::new().engine(&engine).prepare();
        let names = Names {
            namespace: server.namespace.clone(),
            guests: format!("{}-g", server.namespace),
            ports: free_ports()?,
        };
        let mut world = Self {
            server,
            names,
            sampler: Sampler::start(),
            own_engine,
            api: None,
            acknowledged: Vec::new(),
            by_kubectl: Vec::new(),
            tokens: Vec::new(),
            decoys: Vec::new(),
            restarts: BTreeMap::new(),
            leaving: BTreeSet::new(),
            volumes: BTreeSet::new(),
            missed: 0,
        };
        for (group, name) in GROUPS.iter().enumerate() {
            world.write_file(
                &format!("group-{name}"),
                &manifest::group(&world.names, model, group),
            );
        }
        for (which, version) in model.values.iter().enumerate() {
            if let Some(version) = version {
                world.write_file(
                    VALUES[which],
                    &manifest::values(&world.names, which, *version),
                );
            }
        }
        world.launch()?;
        Ok(world)
    }

    /// Starts the server's process (again).
    pub(crate) fn launch(&mut self) -> anyhow::Result<()> {
        self.server.launch();
        self.sampler.watch(self.server.pid());
        self.api = Some(Api::of(&self.server)?);
        Ok(())
    }

    /// The API of the process that runs now.
    pub(crate) fn api(&self) -> anyhow::Result<&Api> {
        self.api.as_ref().context("the server was not started")
    }

    /// Kills the server's process.
    pub(crate) fn kill(&mut self) {
        self.sampler.watch(0);
        self.server.kill_9();
    }

    /// Writes a file of the folder, whole at once.
    pub(crate) fn write_file(&self, name: &str, object: &Value) {
        self.server
            .write(&format!("{name}.yaml"), &format!("{object:#}\n"));
    }

    /// A write through the API that has to succeed; it must be found in the journal.
    pub(crate) fn write(&mut self, write: &crate::api::Write) -> anyhow::Result<Value> {
        let (acknowledged, body) = self.api()?.insist(write)?;
        self.acknowledged.push(acknowledged);
        Ok(body)
    }

    /// Runs kubectl until it succeeds; it must be found in the journal.
    pub(crate) fn kubectl(
        &mut self,
        arguments: &[&str],
        verb: &'static str,
        object: String,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.server.kubectl(arguments);
            if output.status.success() {
                self.by_kubectl.push(ByKubectl { verb, object });
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "kubectl {arguments:?} does not succeed: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            pause(Duration::from_millis(200));
        }
    }

    /// Runs the docker client; a fault may come too late, which is counted.
    pub(crate) fn docker(&mut self, arguments: &[&str]) -> Output {
        let output = self.server.engine().try_docker(arguments);
        if !output.status.success() {
            self.missed += 1;
        }
        output
    }

    /// Ids of the containers of an instance, without those made by hand.
    pub(crate) fn containers_of(&self, label: &str, value: &str) -> Vec<String> {
        let listed = self.server.engine().containers(self.server.installation());
        let wanted = [
            (LABEL_NAMESPACE, self.names.namespace.as_str()),
            (label, value),
        ];
        let is_wanted = |one: &Listed| {
            wanted
                .iter()
                .all(|(label, value)| one.labels.get(*label).is_some_and(|has| has == value))
        };
        let by_hand = |one: &Listed| self.decoys.iter().any(|decoy| decoy.id == one.id);
        listed
            .into_iter()
            .filter(|one| is_wanted(one) && !by_hand(one))
            .map(|one| one.id)
            .collect()
    }

    /// Waits for a condition of the API.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut probe: impl FnMut(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = probe(self)? {
                return Ok(found);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "waited {} s in vain until {what}",
                PATIENCE.as_secs()
            );
            pause(Duration::from_millis(100));
        }
    }

    /// The UID of an object; none when it does not exist.
    pub(crate) fn uid(&self, path: &str) -> anyhow::Result<Option<String>> {
        let answer = self.api()?.read(path)?;
        if answer.code == 404 {
            return Ok(None);
        }
        let object = answer.good().map_err(Error::msg)?.json();
        Ok(object["metadata"]["uid"].as_str().map(str::to_owned))
    }

    /// The path of a Service of the folder's namespace.
    pub(crate) fn service_path(&self, slot: usize) -> String {
        format!("{}/{}", self.services_path(), Model::name(slot))
    }

    /// The path of the Services of the folder's namespace.
    pub(crate) fn services_path(&self) -> String {
        format!(
            "/apis/clos.dev/v1alpha1/namespaces/{}/services",
            self.names.namespace
        )
    }

    /// Keeps what the server has stored and logged, for somebody to look at.
    pub(crate) fn keep(&mut self, seed: u64) -> anyhow::Result<String> {
        if self.server.runs() {
            self.kill();
        }
        let kept = std::env::temp_dir().join(format!("clos-soak-{seed}-{}", std::process::id()));
        let status = std::process::Command::new("cp")
            .arg("-a")
            .arg(self.server.scratch("."))
            .arg(&kept)
            .status();
        anyhow::ensure!(
            status.is_ok_and(|status| status.success()),
            "cannot copy the data directory to {}",
            kept.display()
        );
        Ok(kept.display().to_string())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for decoy in &self.decoys {
            let remove: &[&str] = if decoy.kind == "network" {
                &["network", "rm"]
            } else {
                &["rm", "-f", "-v"]
            };
            let arguments: Vec<&str> = remove.iter().copied().chain([decoy.id.as_str()]).collect();
            self.server.engine().try_docker(&arguments);
        }
        if let Some(name) = &self.own_engine {
            // What cannot be removed is found by whoever makes an engine of the same name.
            let _ = second(&[name, "down"]);
        }
    }
}

/// What is done to an engine of the run's own, by the script that makes it.
pub(crate) fn second(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = std::process::Command::new(repository().join("deploy/engine.sh"));
    let output = command
        .arg("second")
        .args(arguments)
        .output()
        .context("cannot run deploy/engine.sh")?;
    anyhow::ensure!(
        output.status.success(),
        "engine.sh second {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn prepare_images(engine: &Engine) -> anyhow::Result<()> {
    for image in [Image::One, Image::Two, Image::Checked] {
        let mut command = engine.command(repository().join("deploy/engine.sh"));
        command.args(["image", image.name()]);
        for instruction in image.recipe().unwrap_or_default() {
            command.args(["--change", instruction]);
        }
        let output = command.output().context("cannot run deploy/engine.sh")?;
        anyhow::ensure!(
            output.status.success(),
            "engine.sh image: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Ports that nobody listens on, away from other runs.
fn free_ports() -> anyhow::Result<Vec<u16>> {
    let own = u16::try_from(std::process::id() % 500).unwrap_or_default();
    let candidates = (FIRST_PORT + own * 20)..32_000;
    let free: Vec<u16> = candidates
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(PORTS)
        .collect();
    anyhow::ensure!(free.len() == PORTS, "there are not enough free ports");
    Ok(free)
}
