//! One step of a run: what it is, how it is printed, and what it does to the declared truth. Which comes next is in `generate`; carrying it out
//! is in `declare` and `faults`.

use std::fmt;

use crate::model::{Image, Model, Program, Service};

/// Something done to the declarations or to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A service is declared that was not there.
    Add { slot: usize, service: Service },
    /// One thing about a service is declared otherwise.
    Change { slot: usize, change: Change },
    /// A service is declared no more.
    Remove { slot: usize },
    /// There and back again at once.
    Flip { slot: usize },
    /// A restart is asked for.
    Restart { slot: usize },
    /// One service gives up its port and another one takes it.
    MovePort { from: usize, to: usize },
    /// A group is stopped or started.
    Group { group: usize, stopped: bool },
    /// A Secret (0) or `ConfigMap` (1) gets new contents, or goes.
    Values { which: usize, there: bool },
    /// A declaration that cannot be right, taken back later.
    Invalid { slot: usize },
    /// A file that is written in two halves.
    HalfWritten { slot: usize },
    /// An object is deleted by kubectl, and the folder brings it back.
    DeleteObject { slot: usize },
    /// An Instance is deleted by kubectl.
    DeleteInstance { slot: usize, ordinal: u32 },
    /// The second namespace comes with all its services, or goes.
    Guests { there: bool },
    /// Something is done to one container.
    Harm {
        slot: usize,
        ordinal: u32,
        harm: Harm,
    },
    /// All containers of a service are removed by force.
    RemoveAll { slot: usize },
    /// All containers of the installation are removed by force.
    RemoveEverything,
    /// clos is killed; while it is away, a service is declared otherwise and loses a container.
    Away { slot: usize },
    /// A group's network is removed under its containers.
    RemoveNetwork { group: usize },
    /// Something is made by hand that looks like ours.
    Decoy { number: usize, decoy: Decoy },
    /// Something happens to clos itself.
    Server { blow: Blow },
    /// So many reads at once.
    Reads { count: u32 },
    /// Something happens to the engine, if it is one of the run's own.
    Engine { blow: Blow },
}

/// One thing about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Colour,
    Label,
    Memory(u32),
    Image(Image),
    Program(Program),
    Replicas(u32),
    Stopped(bool),
    Port(Option<usize>),
    Reads(Option<usize>),
    DependsOn(Option<usize>),
}

/// What is done to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    Kill,
    Stop,
    Pause,
    Remove,
    Restart,
    ProcessKill,
    ProcessStop,
    Rename,
    Limits,
    Disconnect,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    /// SIGKILL, and it is started again.
    Kill,
    /// SIGKILL among writes, and it is started again.
    KillAmongWrites,
    /// SIGKILL, started again, and SIGKILL while it starts.
    KillTwice,
    /// SIGTERM, and it is started again.
    Stop,
    /// SIGSTOP for a while.
    Hang,
}

/// What looks like ours and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Decoy {
    /// A container with the labels of ours.
    Labels,
    /// A container with a name that ours could have.
    Name,
    /// A network with a name that ours could have.
    Network,
}

impl Step {
    /// The word it is counted by.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Add { .. } => "add".to_owned(),
            Self::Change { change, .. } => match change {
                Change::Colour => "change env",
                Change::Label => "change labels",
                Change::Memory(_) => "change limits",
                Change::Image(_) => "change image",
                Change::Program(_) => "change command",
                Change::Replicas(_) => "scale",
                Change::Stopped(true) => "stop",
                Change::Stopped(false) => "start",
                Change::Port(_) => "change ports",
                Change::Reads(_) => "change env source",
                Change::DependsOn(_) => "change dependsOn",
            }
            .to_owned(),
            Self::Remove { .. } => "remove".to_owned(),
            Self::Flip { .. } => "there and back".to_owned(),
            Self::Restart { .. } => "restart".to_owned(),
            Self::MovePort { .. } => "move port".to_owned(),
            Self::Group { stopped: true, .. } => "stop group".to_owned(),
            Self::Group { .. } => "start group".to_owned(),
            Self::Values { which, there } => {
                let kind = ["Secret", "ConfigMap"][*which];
                format!("{} {kind}", if *there { "write" } else { "remove" })
            }
            Self::Invalid { .. } => "invalid declaration".to_owned(),
            Self::HalfWritten { .. } => "half-written file".to_owned(),
            Self::DeleteObject { .. } => "delete object".to_owned(),
            Self::DeleteInstance { .. } => "delete instance".to_owned(),
            Self::Guests { there: true } => "make namespace".to_owned(),
            Self::Guests { .. } => "remove namespace".to_owned(),
            Self::Harm { harm, .. } => format!("container {}", word(harm)),
            Self::RemoveAll { .. } => "containers remove all".to_owned(),
            Self::RemoveEverything => "containers remove everything".to_owned(),
            Self::Away { .. } => "clos away".to_owned(),
            Self::RemoveNetwork { .. } => "network remove".to_owned(),
            Self::Decoy { decoy, .. } => format!("decoy {}", word(decoy)),
            Self::Server { blow } => format!("clos {}", word(blow)),
            Self::Reads { .. } => "flood of reads".to_owned(),
            Self::Engine { blow } => format!("engine {}", word(blow)),
        }
    }

    /// Whether it harms rather than declares.
    pub(crate) fn is_fault(&self) -> bool {
        match self {
            Self::Harm { .. }
            | Self::RemoveAll { .. }
            | Self::RemoveEverything
            | Self::Away { .. }
            | Self::RemoveNetwork { .. }
            | Self::Decoy { .. }
            | Self::Server { .. }
            | Self::Reads { .. }
            | Self::DeleteInstance { .. }
            | Self::Engine { .. } => true,
            Self::Add { .. }
            | Self::Change { .. }
            | Self::Remove { .. }
            | Self::Flip { .. }
            | Self::Restart { .. }
            | Self::MovePort { .. }
            | Self::Group { .. }
            | Self::Values { .. }
            | Self::Invalid { .. }
            | Self::HalfWritten { .. }
            | Self::DeleteObject { .. }
            | Self::Guests { .. } => false,
        }
    }

    /// What it does to the declared truth. The numbers in it must be of what exists.
    pub(crate) fn apply(&self, model: &mut Model) {
        model.version += 1;
        let version = model.version;
        let change = |model: &mut Model, slot: &usize, with: &dyn Fn(&mut Service)| {
            model.services.get_mut(slot).map(with);
        };
        match self {
            Self::Add { slot, service } => {
                let service = Service {
                    colour: version,
                    ..service.clone()
                };
                model.services.insert(*slot, service);
            }
            Self::Change { slot, change: what } => {
                change(model, slot, &|service| what.apply(service, version));
            }
            Self::Away { slot } => change(model, slot, &|service| service.colour = version),
            Self::Remove { slot } => {
                model.services.remove(slot);
                model.used.insert(*slot);
            }
            Self::Restart { slot } => {
                change(model, slot, &|service| service.restart = Some(version));
            }
            Self::MovePort { from, to } => {
                let port = model
                    .services
                    .get_mut(from)
                    .and_then(|service| service.port.take());
                change(model, to, &|service| service.port = port);
            }
            Self::Group { group, stopped } => model.stopped[*group] = *stopped,
            Self::Values { which, there } => model.values[*which] = there.then_some(version),
            // What people had set is gone with the object.
            Self::DeleteObject { slot } => change(model, slot, &|service| {
                service.restart = None;
                if !service.says_all {
                    service.replicas = 1;
                    service.stopped = false;
                }
            }),
            Self::Guests { there } => model.guests = *there,
            Self::Decoy { .. } => model.decoys += 1,
            Self::Flip { .. }
            | Self::Invalid { .. }
            | Self::HalfWritten { .. }
            | Self::DeleteInstance { .. }
            | Self::Harm { .. }
            | Self::RemoveAll { .. }
            | Self::RemoveEverything
            | Self::RemoveNetwork { .. }
            | Self::Server { .. }
            | Self::Reads { .. }
            | Self::Engine { .. } => {}
        }
    }
}

impl Change {
    /// What it makes of a service. `version` is a number that was not there before.
    pub(crate) fn apply(self, service: &mut Service, version: u32) {
        match self {
            Self::Colour => service.colour = version,
            Self::Label => service.label = version,
            Self::Memory(memory) => service.memory = memory,
            Self::Image(image) => service.image = image,
            Self::Program(program) => service.program = program,
            Self::Replicas(replicas) => service.replicas = replicas,
            Self::Stopped(stopped) => service.stopped = stopped,
            Self::Port(port) => service.port = port,
            Self::Reads(reads) => service.reads = reads,
            Self::DependsOn(on) => service.depends_on = on,
        }
    }

    /// Whether people set it through the API where the declaration does not say it.
    pub(crate) fn is_left_to_people(self) -> bool {
        matches!(self, Self::Replicas(_) | Self::Stopped(_))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::Add { slot, service } => write!(
                f,
                " s{slot} in group {} ({:?}, {:?}, {} replicas, port {:?}, reads {:?}, depends on {:?})",
                service.group,
                service.image,
                service.program,
                service.replicas,
                service.port,
                service.reads,
                service.depends_on
            ),
            Self::Change { slot, change } => write!(f, " s{slot} {change:?}"),
            Self::Remove { slot }
            | Self::Flip { slot }
            | Self::Restart { slot }
            | Self::Invalid { slot }
            | Self::HalfWritten { slot }
            | Self::DeleteObject { slot }
            | Self::RemoveAll { slot }
            | Self::Away { slot } => write!(f, " s{slot}"),
            Self::MovePort { from, to } => write!(f, " s{from} -> s{to}"),
            Self::Group { group, .. } | Self::RemoveNetwork { group } => write!(f, " {group}"),
            Self::DeleteInstance { slot, ordinal } | Self::Harm { slot, ordinal, .. } => {
                write!(f, " s{slot}-{ordinal}")
            }
            Self::Decoy { number, .. } => write!(f, " {number}"),
            Self::Reads { count } => write!(f, " {count}"),
            Self::Values { .. }
            | Self::RemoveEverything
            | Self::Guests { .. }
            | Self::Server { .. }
            | Self::Engine { .. } => Ok(()),
        }
    }
}

/// The name of a variant in lower-case words.
fn word(variant: &impl fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{variant:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let mut model = Model::new(4);
        let service = Service {
            port: Some(2),
            says_all: false,
            replicas: 3,
            ..Service::plain(0)
        };
        Step::Add { slot: 0, service }.apply(&mut model);
        Step::Add {
            slot: 1,
            service: Service::plain(1),
        }
        .apply(&mut model);
        model
    }

    #[test]
    fn a_change_is_to_something_new_and_of_one_service_only() {
        let mut model = model();
        let before = model.clone();
        Step::Change {
            slot: 0,
            change: Change::Colour,
        }
        .apply(&mut model);
        assert_ne!(model.services[&0].colour, before.services[&0].colour);
        assert_eq!(model.services[&1], before.services[&1]);
    }

    #[test]
    fn a_port_moves_whole() {
        let mut model = model();
        Step::MovePort { from: 0, to: 1 }.apply(&mut model);
        assert_eq!(
            (model.services[&0].port, model.services[&1].port),
            (None, Some(2))
        );
    }

    #[test]
    fn what_people_had_set_goes_with_the_object_and_what_is_declared_stays() {
        let mut model = model();
        Step::Restart { slot: 0 }.apply(&mut model);
        Step::DeleteObject { slot: 0 }.apply(&mut model);
        assert_eq!(
            (model.services[&0].replicas, model.services[&0].restart),
            (1, None)
        );
        model.services.get_mut(&0).unwrap().says_all = true;
        Step::Change {
            slot: 0,
            change: Change::Replicas(2),
        }
        .apply(&mut model);
        Step::DeleteObject { slot: 0 }.apply(&mut model);
        assert_eq!(model.services[&0].replicas, 2);
    }

    #[test]
    fn a_removed_service_is_remembered_as_a_used_name() {
        let mut model = model();
        Step::Remove { slot: 1 }.apply(&mut model);
        assert!(!model.services.contains_key(&1) && model.used.contains(&1));
    }

    #[test]
    fn steps_are_printed_with_their_target() {
        let harm = Step::Harm {
            slot: 3,
            ordinal: 1,
            harm: Harm::ProcessKill,
        };
        assert_eq!(harm.to_string(), "container process kill s3-1");
        assert_eq!(
            Step::Values {
                which: 1,
                there: false
            }
            .to_string(),
            "remove ConfigMap"
        );
        assert_eq!(
            Step::Server {
                blow: Blow::KillAmongWrites
            }
            .to_string(),
            "clos kill among writes"
        );
    }
}
