//! What a test does to the fake: acts of people and of programs, foreign things, faults, and looking at what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_plan::container::{LimitOptions, NetworkOptions, PortOptions};
use clos_plan::observed::{Container, Health, Network, Volume};
use clos_resources::container::Protocol;

use super::faults::Call;
use super::program::{FakeImage, Pull};
use super::world::by_hand;
use super::{FakeEngine, State};
use crate::error::Error;
use crate::events::EngineEvent;
use crate::logs::LogLine;

/// Looking.
impl FakeEngine {
    /// Every container, by id.
    pub fn containers(&self) -> Vec<Container> {
        self.lock()
            .world
            .containers
            .values()
            .map(|container| container.shown.clone())
            .collect()
    }

    /// The container of this name.
    pub fn container(&self, name: &str) -> Option<Container> {
        self.containers()
            .into_iter()
            .find(|container| container.name == name)
    }

    /// The image a container was made from, as it was asked for.
    pub fn image_of(&self, id: &str) -> Option<String> {
        self.lock()
            .world
            .containers
            .get(id)
            .map(|container| container.image.clone())
    }

    /// Every network, the engine's own `bridge` included.
    pub fn all_networks(&self) -> Vec<Network> {
        self.lock().world.networks.clone()
    }

    /// Every volume.
    pub fn volumes(&self) -> Vec<Volume> {
        self.lock().world.volumes.values().cloned().collect()
    }

    /// Every call so far, reads included, failed ones included, oldest first.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// The calls among them that were to change something.
    pub fn mutating_calls(&self) -> Vec<String> {
        self.lock().mutations.clone()
    }

    /// Starts both lists of calls anew.
    pub fn forget_calls(&self) {
        self.change(|state| {
            state.calls.clear();
            state.mutations.clear();
        });
    }

    /// Waits until the containers are so.
    pub async fn until(&self, mut so: impl FnMut(&[Container]) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !so(&self.containers()) {
            // The sender lives in `self`.
            if changes.changed().await.is_err() {
                break;
            }
        }
    }

    /// Waits until the list of calls is so.
    pub async fn until_calls(&self, mut so: impl FnMut(&[String]) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !so(&self.calls()) {
            // The sender lives in `self`.
            if changes.changed().await.is_err() {
                break;
            }
        }
    }
}

/// Acts of people and programs.
impl FakeEngine {
    /// The program ends by itself.
    pub fn crash(&self, id: &str, code: i64) {
        self.change(|state| state.world.crash(id, code));
    }

    /// The kernel kills the program for memory.
    pub fn run_out_of_memory(&self, id: &str) {
        self.change(|state| state.world.run_out_of_memory(id));
    }

    /// `docker kill`.
    pub fn kill_by_hand(&self, id: &str) {
        self.change(|state| state.world.kill(id));
    }

    /// `docker stop`.
    pub fn stop_by_hand(&self, id: &str) {
        self.change(|state| state.world.stop(id, Duration::from_secs(10)));
    }

    /// `docker start`.
    pub fn start_by_hand(&self, id: &str) -> Result<(), Error> {
        self.change(|state| state.world.start(id))
    }

    /// `docker restart`.
    pub fn restart_by_hand(&self, id: &str) -> Result<(), Error> {
        self.change(|state| {
            state.world.stop(id, Duration::from_secs(10));
            state.world.start(id)
        })
    }

    /// `docker rm --force`.
    pub fn remove_by_hand(&self, id: &str) -> Result<(), Error> {
        self.change(|state| state.world.remove(id, true))
    }

    /// `docker pause`.
    pub fn pause_by_hand(&self, id: &str) {
        self.change(|state| state.world.pause(id));
    }

    /// `docker update`.
    pub fn update_by_hand(&self, id: &str, limits: LimitOptions) {
        self.change(|state| {
            state
                .world
                .change(id, |container| container.live.limits = limits);
        });
    }

    /// `docker update --restart`.
    pub fn set_restart_policy_by_hand(&self, id: &str, policy: &str) {
        self.change(|state| {
            state.world.change(id, |container| {
                policy.clone_into(&mut container.live.restart_policy);
            });
        });
    }

    /// `docker rename`.
    pub fn rename_by_hand(&self, id: &str, name: &str) {
        self.change(|state| {
            state
                .world
                .change(id, |container| name.clone_into(&mut container.name));
        });
    }

    /// `docker network disconnect`.
    pub fn disconnect_by_hand(&self, id: &str, network: &str) {
        self.change(|state| {
            state.world.change(id, |container| {
                drop(container.live.networks.remove(network));
            });
        });
    }

    /// The image's own health check changes its mind about a running container.
    pub fn set_health(&self, id: &str, health: Health) {
        self.change(|state| state.world.set_health(id, health));
    }

    /// The program writes a line.
    pub fn write_line(&self, id: &str, stderr: bool, text: &str) {
        self.change(|state| {
            let at = Some((state.world.clock)());
            if let Some(container) = state.world.containers.get_mut(id) {
                container.logs.push(LogLine {
                    at,
                    stderr,
                    text: text.to_owned(),
                });
            }
        });
    }

    /// `docker run` by a person: a container made and started. Labels may be copied from one of ours.
    pub fn run_by_hand(
        &self,
        name: &str,
        image: &str,
        labels: BTreeMap<String, String>,
        ports: BTreeSet<PortOptions>,
    ) -> Result<String, Error> {
        self.change(|state| {
            let id = state.world.create(&by_hand(name, image, labels, ports))?;
            state.world.start(&id)?;
            Ok(id)
        })
    }

    /// `docker network create` by a person: as the engine allows it, also when one of the name exists. Gives its id.
    pub fn create_network_by_hand(&self, name: &str, labels: BTreeMap<String, String>) -> String {
        self.change(|state| {
            state.world.add_network(&NetworkOptions {
                name: name.to_owned(),
                labels,
            })
        })
    }

    /// A process of the host listens on a port.
    pub fn listen_by_hand(&self, protocol: Protocol, port: u16, process: &str) {
        self.change(|state| {
            state
                .world
                .listeners
                .insert((protocol, port), process.to_owned())
        });
    }

    /// It listens no more.
    pub fn free_port(&self, protocol: Protocol, port: u16) {
        self.change(|state| state.world.listeners.remove(&(protocol, port)));
    }

    /// An image comes to the host, in the place of one of the same name. Containers keep the one they were made from.
    pub fn load_image(&self, image: FakeImage) {
        self.change(|state| {
            state.world.images.insert(image.name.clone(), image);
            state.world.outbox.push(EngineEvent::Image { name: None });
        });
    }

    /// `docker rmi --force`.
    pub fn remove_image_by_hand(&self, name: &str) {
        self.change(|state| state.world.images.remove(name));
    }

    /// Somebody pushes an image to the registry, or makes it readable.
    pub fn push_image(&self, image: FakeImage) {
        self.change(|state| {
            state
                .world
                .registry
                .insert(image.name.clone(), Pull::Has(image))
        });
    }
}

/// Faults of the engine.
impl FakeEngine {
    /// The engine cannot be reached until [`Self::come_back`]. Containers live on, their events are lost.
    pub fn go_away(&self) {
        self.change(|state| {
            state.faults.away = true;
            state.lose();
        });
    }

    /// The engine accepts calls and does not answer until [`Self::come_back`]: they fail by their deadline, or go on when it comes back.
    pub fn hang(&self) {
        self.change(|state| {
            state.faults.hung = true;
            state.lose();
        });
    }

    /// The engine is there again.
    pub fn come_back(&self) {
        self.change(|state| {
            state.faults.away = false;
            state.faults.hung = false;
            state.send(&[EngineEvent::Connected]);
        });
    }

    /// The engine is killed and started again: its containers ended with it, without a word and with exit code 0.
    pub fn restart_engine_by_sigkill(&self) {
        self.change(|state| {
            state.lose();
            state.world.lose_containers();
            state.send(&[EngineEvent::Connected]);
        });
    }

    /// The next calls of a kind fail, so many of them, before they have any effect.
    pub fn fail_next(&self, call: Call, times: usize, error: &Error) {
        self.change(|state| state.faults.fail(call, times, error));
    }

    /// The next call of a kind takes effect and its answer is lost.
    pub fn cut_answer_of_next(&self, call: Call) {
        self.change(|state| state.faults.cut_answer(call));
    }

    /// Calls of a kind wait, until [`Self::release`]: a slow pull, a slow stop.
    pub fn hold(&self, call: Call) {
        self.change(|state| state.faults.held.insert(call));
    }

    /// Lets them go on.
    pub fn release(&self, call: Call) {
        self.change(|state| state.faults.held.remove(&call));
    }
}

/// Faults of the event stream.
impl FakeEngine {
    /// The next events are lost, so many of them.
    pub fn drop_events(&self, number: usize) {
        self.change(|state| state.event_faults.drop_next = number);
    }

    /// Whether every event comes twice from now on.
    pub fn double_events(&self, doubled: bool) {
        self.change(|state| state.event_faults.doubled = doubled);
    }

    /// Events come late: when they are released.
    pub fn hold_events(&self) {
        self.change(|state| state.event_faults.hold());
    }

    /// Sends the events that were held, in the order in which they happened or in the opposite one.
    pub fn release_events(&self, reversed: bool) {
        self.change(|state| {
            let events = state.event_faults.release(reversed);
            state.send(&events);
        });
    }

    /// The reader was too slow: some events are lost and it is told so.
    pub fn overflow_events(&self) {
        self.change(|state| state.send(&[EngineEvent::Overflow]));
    }

    /// The stream is connected and ends at once; what happens from then on is not told until [`Self::keep_events`].
    pub fn end_events_at_once(&self) {
        self.change(|state| {
            state.event_faults.drop_next = usize::MAX;
            state.send(&[
                EngineEvent::Connected,
                EngineEvent::Lost {
                    reason: "the engine closed the stream".to_owned(),
                },
            ]);
        });
    }

    /// The stream is connected, and stays so.
    pub fn keep_events(&self) {
        self.change(|state| {
            state.event_faults.drop_next = 0;
            state.send(&[EngineEvent::Connected]);
        });
    }

    /// The stream breaks and is connected again at once.
    pub fn break_events(&self) {
        self.change(|state| {
            state.send(&[
                EngineEvent::Lost {
                    reason: "the event stream ended".to_owned(),
                },
                EngineEvent::Connected,
            ]);
        });
    }
}

impl State {
    /// Tells subscribers that the connection is gone.
    fn lose(&mut self) {
        let lost = EngineEvent::Lost {
            reason: self.why_lost(),
        };
        self.send(&[lost]);
    }
}
