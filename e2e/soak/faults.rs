//! Carrying out the steps that harm: containers, networks, clos itself, the engine; and things made by hand that look like ours.

use std::time::Duration;

use anyhow::Context as _;
use clos_harness::signal;
use clos_resources::names;
use serde_json::{Value, json};

use crate::api::{Api, Write};
use crate::journal::Token;
use crate::manifest;
use crate::model::{GROUPS, Image, Model};
use crate::pause;
use crate::step::{Blow, Decoy, Harm};
use crate::world::{MadeByHand, World, second};

/// So many writes are under way when the server is killed among them.
const WRITES: usize = 16;

impl World {
    /// Does something to the container of a replica.
    pub(crate) fn harm(&mut self, number: u64, slot: usize, ordinal: u32, harm: Harm) {
        let instance = names::instance(&Model::name(slot), ordinal);
        let Some(id) = self.containers_of(names::LABEL_INSTANCE, &instance).pop() else {
            self.missed += 1;
            return;
        };
        let id = id.as_str();
        match harm {
            Harm::Kill => drop(self.docker(&["kill", id])),
            Harm::Stop => drop(self.docker(&["stop", "-t", "1", id])),
            Harm::Pause => drop(self.docker(&["pause", id])),
            Harm::Remove => drop(self.docker(&["rm", "-f", id])),
            Harm::Restart => drop(self.docker(&["restart", "-t", "1", id])),
            Harm::Rename => {
                let name = format!("{}-renamed-{number}", self.names.namespace);
                self.docker(&["rename", id, &name]);
            }
            Harm::Limits => {
                drop(self.docker(&["update", "--memory", "200m", "--memory-swap", "300m", id]));
            }
            Harm::Disconnect => {
                let networks = self
                    .server
                    .engine()
                    .inspect(id)
                    .map(|seen| seen["NetworkSettings"]["Networks"].clone());
                let network = networks.and_then(|all| all.as_object()?.keys().next().cloned());
                if let Some(network) = network {
                    self.docker(&["network", "disconnect", "-f", &network, id]);
                }
            }
            Harm::ProcessKill => self.signal_process(id, &["KILL"]),
            Harm::ProcessStop => self.signal_process(id, &["STOP", "CONT"]),
        }
    }

    /// Removes all containers of a service.
    pub(crate) fn remove_all(&mut self, slot: usize) {
        self.remove_all_with(names::LABEL_SERVICE, &Model::name(slot));
    }

    fn remove_all_with(&mut self, label: &str, value: &str) {
        let ids = self.containers_of(label, value);
        let arguments: Vec<&str> = ["rm", "-f"]
            .into_iter()
            .chain(ids.iter().map(String::as_str))
            .collect();
        if ids.is_empty() {
            self.missed += 1;
        } else {
            self.docker(&arguments);
        }
    }

    /// Removes all containers of the installation.
    pub(crate) fn remove_everything(&mut self) {
        let installation = self.server.installation().to_owned();
        self.remove_all_with(names::LABEL_INSTALLATION, &installation);
    }

    /// Kills clos, takes a container of a service away and declares it as the model has it, and starts clos again.
    pub(crate) fn away(&mut self, number: u64, model: &Model, slot: usize) -> anyhow::Result<()> {
        self.kill();
        self.harm(number, slot, 0, Harm::Remove);
        self.declare(model, slot)?;
        self.launch()
    }

    /// Removes a group's network, its containers taken off it first.
    pub(crate) fn remove_network(&mut self, group: usize) {
        let network = names::network(&self.names.namespace, GROUPS[group]);
        for id in self.containers_of(names::LABEL_GROUP, GROUPS[group]) {
            self.server
                .engine()
                .try_docker(&["network", "disconnect", "-f", &network, &id]);
        }
        self.docker(&["network", "rm", &network]);
    }

    /// Makes something by hand that looks like ours.
    pub(crate) fn decoy(&mut self, number: usize, decoy: Decoy) -> anyhow::Result<()> {
        let namespace = self.names.namespace.clone();
        let image = Image::One.name();
        let made = match decoy {
            Decoy::Labels => {
                let uid = self.some_instance()?;
                let labels = [
                    format!(
                        "{}={}",
                        names::LABEL_INSTALLATION,
                        self.server.installation()
                    ),
                    format!("{}={namespace}", names::LABEL_NAMESPACE),
                    format!(
                        "{}={}",
                        names::LABEL_INSTANCE_UID,
                        uid.as_deref().unwrap_or("none")
                    ),
                ];
                let [installation, of, uid] = &labels;
                let name = format!("{namespace}-decoy-{number}");
                let arguments = [
                    "run",
                    "-d",
                    "--name",
                    &name,
                    "--label",
                    installation,
                    "--label",
                    of,
                    "--label",
                    uid,
                    image,
                    "sleep",
                    "36000",
                ];
                ("container", self.server.engine().try_docker(&arguments))
            }
            Decoy::Name => {
                let name = manifest::container(&self.names, number, 7);
                (
                    "container",
                    self.server
                        .engine()
                        .try_docker(&["run", "-d", "--name", &name, image, "sleep", "36000"]),
                )
            }
            Decoy::Network => {
                let name = names::network(&namespace, &format!("decoy{number}"));
                (
                    "network",
                    self.server
                        .engine()
                        .try_docker(&["network", "create", &name]),
                )
            }
        };
        let (kind, output) = made;
        if !output.status.success() {
            // An engine that many use may have no address left for a network.
            self.missed += 1;
            return Ok(());
        }
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let face = self.face(kind, &id);
        self.decoys.push(MadeByHand { kind, id, face });
        Ok(())
    }

    /// What must not change about something made by hand. An engine that was ended ends containers, too.
    pub(crate) fn face(&self, kind: &str, id: &str) -> String {
        let format = match (kind, &self.own_engine) {
            ("network", _) => "{{.Id}} {{.Name}} {{.Labels}}",
            (_, None) => {
                "{{.Id}} {{.Name}} {{.State.Running}} {{.State.StartedAt}} {{.HostConfig.Memory}} {{.Config.Labels}}"
            }
            (_, Some(_)) => {
                "{{.Id}} {{.Name}} {{.State.StartedAt}} {{.HostConfig.Memory}} {{.Config.Labels}}"
            }
        };
        let output = self
            .server
            .engine()
            .try_docker(&[kind, "inspect", "--format", format, id]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Something happens to the server.
    pub(crate) fn server_blow(&mut self, number: u64, blow: Blow) -> anyhow::Result<()> {
        match blow {
            Blow::Kill => self.kill(),
            Blow::KillAmongWrites => return self.kill_among_writes(number),
            Blow::KillTwice => {
                self.kill();
                self.server.launch_unready();
                pause(Duration::from_millis(number * 37 % 600));
                self.server.kill_9();
            }
            Blow::Stop => {
                self.sampler.watch(0);
                let code = self.server.stop();
                anyhow::ensure!(code == 0, "clos serve ended with {code} after SIGTERM");
            }
            Blow::Hang => {
                let process = self.server.pid();
                signal(process, "STOP");
                pause(Duration::from_millis(1500));
                signal(process, "CONT");
                return Ok(());
            }
        }
        self.launch()
    }

    /// Something happens to the engine of the run's own.
    pub(crate) fn engine_blow(&mut self, blow: Blow) -> anyhow::Result<()> {
        let name = self
            .own_engine
            .clone()
            .context("the engine is not the run's own")?;
        let process: u32 = second(&[&name, "pid"])?
            .trim()
            .parse()
            .context("not a process id")?;
        match blow {
            Blow::Hang => {
                signal(process, "STOP");
                pause(Duration::from_secs(3));
                signal(process, "CONT");
                return Ok(());
            }
            Blow::Stop => {
                signal(process, "TERM");
                clos_harness::wait_until("the engine ends", || (!runs(process)).then_some(()));
            }
            Blow::Kill | Blow::KillAmongWrites | Blow::KillTwice => {
                signal(process, "KILL");
                clos_harness::wait_until("the engine is gone", || (!runs(process)).then_some(()));
            }
        }
        second(&[&name, "start"]).map(drop)
    }

    /// Many reads at once, all of which must be answered.
    pub(crate) fn reads(&self, count: u32) -> anyhow::Result<()> {
        // What the reads themselves cost comes and goes with them.
        self.sampler.watch(0);
        let good = Api::flood(&self.server, "/apis/clos.dev/v1alpha1/instances", count)?;
        self.sampler.watch(self.server.pid());
        anyhow::ensure!(good == count, "only {good} of {count} reads were answered");
        Ok(())
    }

    fn kill_among_writes(&mut self, number: u64) -> anyhow::Result<()> {
        let collection = format!("/api/v1/namespaces/{}/configmaps", self.names.namespace);
        let writes = (0..WRITES).map(|index| {
            let name = format!("token-{number}-{index}");
            Write::create(
                &collection,
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}),
            )
        });
        // The namespace comes from the folder, and may not be there at the very beginning.
        self.until("the namespace is made", |world| {
            world.uid(&format!("/api/v1/namespaces/{}", world.names.namespace))
        })?;
        let process = self.server.pid();
        let enough = usize::try_from(number).unwrap_or_default() * 7 % WRITES;
        let kill = || signal(process, "KILL");
        let answered = self.api()?.burst(writes.collect(), enough, kill);
        self.kill();
        self.launch()?;
        for (write, answer) in answered {
            let name = write.body["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let exists = self.uid(&format!("{collection}/{name}"))?.is_some();
            let acknowledged = answer.is_some_and(|answer| answer.code == 201);
            self.tokens.push(Token {
                name,
                acknowledged,
                exists,
            });
        }
        Ok(())
    }

    fn signal_process(&mut self, id: &str, signals: &[&str]) {
        let process = self
            .server
            .engine()
            .inspect(id)
            .and_then(|seen| u32::try_from(seen["State"]["Pid"].as_u64()?).ok());
        // Numbers of processes come again: it must be in the container.
        let is_in = |process: &u32| {
            std::fs::read_to_string(format!("/proc/{process}/cgroup"))
                .is_ok_and(|groups| groups.contains(id))
        };
        let Some(process) = process.filter(is_in) else {
            self.missed += 1;
            return;
        };
        for name in signals {
            // It may have ended by itself meanwhile.
            let sent = std::process::Command::new("kill")
                .args([&format!("-{name}"), &process.to_string()])
                .output();
            self.missed += u32::from(!sent.is_ok_and(|sent| sent.status.success()));
            if signals.len() > 1 {
                pause(Duration::from_millis(300));
            }
        }
    }

    /// The UID of an Instance that lives, if there is one.
    fn some_instance(&self) -> anyhow::Result<Option<String>> {
        let list = self.api()?.get("/apis/clos.dev/v1alpha1/instances")?;
        let first = list["items"].as_array().and_then(|items| items.first());
        Ok(first
            .and_then(|instance: &Value| instance["metadata"]["uid"].as_str())
            .map(str::to_owned))
    }
}

/// Whether a process is there and not only waited for by its parent.
fn runs(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}
