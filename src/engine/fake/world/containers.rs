//! How a container is made, started, stopped, changed and removed, and how it ends by itself, with the events of each. What it needs of
//! the host is not here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_plan::container::{
    ContainerOptions, LimitOptions, MountOptions, PortOptions, VolumeOptions,
};
use clos_plan::observed::{Container, ContainerState, Health, LiveOptions};

use super::images::image_id;
use super::ports::holds_ports;
use super::{Inhabitant, World};
use crate::error::Error;
use crate::events::Happened;
use crate::fake::program::Course;

impl World {
    pub(in crate::fake) fn create(&mut self, options: &ContainerOptions) -> Result<String, Error> {
        if let Some(other) = self
            .containers
            .values()
            .find(|container| container.shown.name == options.name)
        {
            return Err(Error::NameTaken(format!(
                "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
                options.name, other.shown.id
            )));
        }
        let Some(image) = self.images.get(&options.image).cloned() else {
            return Err(Error::NotFound(format!("No such image: {}", options.image)));
        };
        for mount in options.mounts.values() {
            match mount {
                MountOptions::Volume { name, .. } => {
                    self.create_volume(&VolumeOptions {
                        name: name.clone(),
                        labels: BTreeMap::new(),
                    });
                }
                MountOptions::Tmpfs { .. } => {}
            }
        }
        let id = self.next_id();
        let live = LiveOptions {
            networks: BTreeMap::from([(options.network.clone(), options.aliases.clone())]),
            limits: options.limits.clone(),
            restart_policy: "no".to_owned(),
            mounts: options.mounts.clone(),
            ports: options.ports.clone(),
        };
        let shown = Container {
            id: id.clone(),
            name: options.name.clone(),
            labels: options.labels.clone(),
            image_id: image_id(&image),
            created_at: (self.clock)(),
            state: ContainerState::Created,
            live,
        };
        let inhabitant = Inhabitant {
            shown,
            image: options.image.clone(),
            logs: Vec::new(),
            program: image.program,
            health: if image.health_check {
                Health::Starting
            } else {
                Health::None
            },
            starts: 0,
        };
        self.containers.insert(id.clone(), inhabitant);
        self.happened(&id, [Happened::Created]);
        Ok(id)
    }

    pub(in crate::fake) fn start(&mut self, id: &str) -> Result<(), Error> {
        let container = self.container(id)?;
        match &container.shown.state {
            ContainerState::Running { .. } | ContainerState::Restarting => return Ok(()),
            ContainerState::Paused { .. } => {
                return Err(Error::Refused(
                    "cannot start a paused container, try unpause instead".to_owned(),
                ));
            }
            ContainerState::Removing | ContainerState::Dead => {
                return Err(Error::Refused(
                    "container is marked for removal and cannot be started".to_owned(),
                ));
            }
            ContainerState::Created | ContainerState::Exited { .. } => {}
        }
        if let Some(name) = container
            .shown
            .live
            .networks
            .keys()
            .find(|name| self.networks.iter().all(|network| network.name != **name))
        {
            let error = Error::NotFound(format!("network {name} not found"));
            return Err(self.failed_start(id, error));
        }
        if let Some(error) = self.port_clash(id) {
            return Err(self.failed_start(id, error));
        }
        if let Course::Refused { message } = &self.container(id)?.program.course {
            let error = Error::Refused(message.clone());
            return Err(self.failed_start(id, error));
        }
        let started_at = (self.clock)();
        let container = self.container_mut(id)?;
        container.starts += 1;
        container.shown.state = ContainerState::Running {
            started_at,
            health: container.health.clone(),
        };
        let code = match container.program.course {
            Course::Exits { code, starts } if container.starts <= starts => Some(code),
            Course::Exits { .. } | Course::Runs | Course::Refused { .. } => None,
        };
        self.happened(id, [Happened::Started]);
        if let Some(code) = code {
            self.end(id, code, false);
            self.happened(id, [Happened::Died { exit_code: code }]);
        }
        Ok(())
    }

    /// As `docker stop`: nothing when it does not run or is gone.
    pub(in crate::fake) fn stop(&mut self, id: &str, grace: Duration) {
        let Some(container) = self
            .containers
            .get(id)
            .filter(|container| holds_ports(&container.shown.state))
        else {
            return;
        };
        let term = Happened::Killed {
            signal: "15".to_owned(),
        };
        let kill = Happened::Killed {
            signal: "9".to_owned(),
        };
        let stop_code = container.program.stop_code.filter(|_| !grace.is_zero());
        let code = stop_code.unwrap_or(137);
        self.end(id, code, false);
        self.happened(id, [term]);
        if stop_code.is_none() {
            self.happened(id, [kill]);
        }
        self.happened(id, [Happened::Died { exit_code: code }, Happened::Stopped]);
    }

    /// As `docker kill --signal KILL`.
    pub(in crate::fake) fn kill(&mut self, id: &str) {
        self.end(id, 137, false);
        self.happened(
            id,
            [
                Happened::Killed {
                    signal: "9".to_owned(),
                },
                Happened::Died { exit_code: 137 },
            ],
        );
    }

    /// As its program does it by itself.
    pub(in crate::fake) fn crash(&mut self, id: &str, code: i64) {
        self.end(id, code, false);
        self.happened(id, [Happened::Died { exit_code: code }]);
    }

    /// As the kernel does it.
    pub(in crate::fake) fn run_out_of_memory(&mut self, id: &str) {
        self.end(id, 137, true);
        self.happened(
            id,
            [Happened::OutOfMemory, Happened::Died { exit_code: 137 }],
        );
    }

    pub(in crate::fake) fn pause(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id)
            && let ContainerState::Running { started_at, .. } = container.shown.state
        {
            container.shown.state = ContainerState::Paused { started_at };
            self.happened(id, [Happened::Paused]);
        }
    }

    pub(in crate::fake) fn unpause(&mut self, id: &str) -> Result<(), Error> {
        let container = self.container_mut(id)?;
        if let ContainerState::Paused { started_at } = container.shown.state {
            container.shown.state = ContainerState::Running {
                started_at,
                health: container.health.clone(),
            };
            self.happened(id, [Happened::Unpaused]);
        }
        Ok(())
    }

    /// As `docker rm`, with `--force` or without.
    pub(in crate::fake) fn remove(&mut self, id: &str, force: bool) -> Result<(), Error> {
        let Some(container) = self.containers.get(id) else {
            return Ok(());
        };
        if holds_ports(&container.shown.state) {
            if !force {
                return Err(Error::Refused(format!(
                    "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
                )));
            }
            self.kill(id);
        }
        self.happened(id, [Happened::Destroyed]);
        self.containers.remove(id);
        Ok(())
    }

    /// Changes what can be changed behind our back.
    pub(in crate::fake) fn change(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        if let Some(container) = self.containers.get_mut(id) {
            change(&mut container.shown);
            self.happened(id, [Happened::Changed]);
        }
    }

    pub(in crate::fake) fn set_health(&mut self, id: &str, said: Health) {
        if let Some(container) = self.containers.get_mut(id)
            && let ContainerState::Running { health, .. } = &mut container.shown.state
        {
            *health = said;
            self.happened(id, [Happened::Health]);
        }
    }

    /// Every container ends as after a SIGKILL of the engine: no event, exit code 0, which proves nothing.
    pub(in crate::fake) fn lose_containers(&mut self) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.end(&id, 0, false);
        }
    }

    fn end(&mut self, id: &str, code: i64, oom_killed: bool) {
        let finished_at = (self.clock)();
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if let ContainerState::Running { started_at, .. } | ContainerState::Paused { started_at } =
            container.shown.state
        {
            container.shown.state = ContainerState::Exited {
                code,
                oom_killed,
                error: String::new(),
                started_at,
                finished_at,
            };
        }
    }

    /// A failed start leaves a container that never ran in `created`.
    fn failed_start(&mut self, id: &str, failure: Error) -> Error {
        if let Some(container) = self.containers.get_mut(id)
            && let ContainerState::Exited { code, error, .. } = &mut container.shown.state
        {
            error.clone_from(&failure.to_string());
            *code = if *code == 0 { 128 } else { *code };
        }
        failure
    }

    fn container(&self, id: &str) -> Result<&Inhabitant, Error> {
        self.containers
            .get(id)
            .ok_or_else(|| Error::NotFound(format!("No such container: {id}")))
    }

    fn container_mut(&mut self, id: &str) -> Result<&mut Inhabitant, Error> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Error::NotFound(format!("No such container: {id}")))
    }
}

/// A container as `docker run` by a person makes it: any labels, no network but the default one.
pub(in crate::fake) fn by_hand(
    name: &str,
    image: &str,
    labels: BTreeMap<String, String>,
    ports: BTreeSet<PortOptions>,
) -> ContainerOptions {
    ContainerOptions {
        name: name.to_owned(),
        image: image.to_owned(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        working_dir: None,
        user: None,
        env: BTreeMap::new(),
        labels,
        mounts: BTreeMap::new(),
        network: "bridge".to_owned(),
        aliases: BTreeSet::new(),
        ports,
        limits: LimitOptions::default(),
        stop_timeout: Duration::from_secs(10),
        stop_signal: None,
    }
}
