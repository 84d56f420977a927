//! The declared truth, kept in memory: which services there should be and what each should be like. How a declaration is written is in
//! `manifest`, how the truth changes in `step`.

use std::collections::{BTreeMap, BTreeSet};

/// The groups that are always declared.
pub(crate) const GROUPS: [&str; 2] = ["blue", "green"];

/// Host ports that services may ask for, by index; which numbers they are is decided when the run starts.
pub(crate) const PORTS: usize = 4;

/// How many services there are in the namespace that comes and goes.
pub(crate) const GUESTS: usize = 2;

/// Everything that is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// Services by the number in their name.
    pub(crate) services: BTreeMap<usize, Service>,
    /// How many numbers there are.
    pub(crate) slots: usize,
    /// Numbers that had a service before: a later one of the same name declares everything that people may otherwise have set.
    pub(crate) used: BTreeSet<usize>,
    /// Whether each of the groups is declared as stopped.
    pub(crate) stopped: [bool; GROUPS.len()],
    /// The version of what the Secret and the `ConfigMap` hold; none when it is not there.
    pub(crate) values: [Option<u32>; 2],
    /// Whether the second namespace exists, with its services.
    pub(crate) guests: bool,
    /// How many things were made by hand that look like ours.
    pub(crate) decoys: usize,
    /// Counts up, so that each change is to something new.
    pub(crate) version: u32,
}

/// One service as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) group: usize,
    pub(crate) image: Image,
    pub(crate) program: Program,
    pub(crate) replicas: u32,
    /// Whether the declaration says replicas and state; otherwise people do, through the API.
    pub(crate) says_all: bool,
    pub(crate) stopped: bool,
    pub(crate) colour: u32,
    pub(crate) label: u32,
    /// In MiB.
    pub(crate) memory: u32,
    pub(crate) port: Option<usize>,
    /// Which of the two objects with values it reads from.
    pub(crate) reads: Option<usize>,
    pub(crate) depends_on: Option<usize>,
    pub(crate) volume: bool,
    /// The version of the last restart that was asked for.
    pub(crate) restart: Option<u32>,
}

/// The images of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Image {
    /// Without a health check.
    One,
    /// The same with another variable.
    Two,
    /// With a health check.
    Checked,
    /// Not on the host.
    Missing,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    /// Runs for ever and stops when asked.
    Serve,
    /// Ends with a failure at once, again and again.
    Crash,
    /// A job that succeeds.
    Job,
    /// A job that fails and is not to be tried again.
    FailedJob,
}

/// What a service comes to when everything was left alone for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All replicas run.
    Runs,
    /// Nothing runs, as declared.
    Stopped,
    /// It ran to completion.
    Completed,
    /// It failed for good.
    Failed,
    /// It cannot come to rest: something it needs is missing, or it crashes.
    Unsettled,
}

impl Service {
    /// A service that runs once, of the simplest kind.
    pub(crate) fn plain(group: usize) -> Self {
        Self {
            group,
            image: Image::One,
            program: Program::Serve,
            replicas: 1,
            says_all: true,
            stopped: false,
            colour: 0,
            label: 0,
            memory: 32,
            port: None,
            reads: None,
            depends_on: None,
            volume: false,
            restart: None,
        }
    }
}

impl Model {
    /// Both groups, both objects with values, and no service yet.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            services: BTreeMap::new(),
            slots,
            used: BTreeSet::new(),
            stopped: [false; GROUPS.len()],
            values: [Some(0); 2],
            guests: false,
            decoys: 0,
            version: 0,
        }
    }

    /// Whether the service with this number is declared through the API; the others stand in the folder.
    pub(crate) fn by_api(slot: usize) -> bool {
        slot % 3 == 2
    }

    /// The name of the service with this number.
    pub(crate) fn name(slot: usize) -> String {
        format!("s{slot}")
    }

    /// What becomes of a service when nothing else happens.
    pub(crate) fn fate(&self, slot: usize) -> Option<Fate> {
        let service = self.services.get(&slot)?;
        if service.stopped || self.stopped[service.group] {
            return Some(Fate::Stopped);
        }
        if service.replicas == 0 {
            return Some(Fate::Runs);
        }
        let readable = service
            .reads
            .is_none_or(|which| self.values[which].is_some());
        let dependency = service
            .depends_on
            .is_none_or(|on| self.fate(on) == Some(Fate::Runs) && self.runs_something(on));
        if service.image == Image::Missing || !readable || !dependency {
            return Some(Fate::Unsettled);
        }
        Some(match service.program {
            Program::Serve => Fate::Runs,
            Program::Crash => Fate::Unsettled,
            Program::Job => Fate::Completed,
            Program::FailedJob => Fate::Failed,
        })
    }

    fn runs_something(&self, slot: usize) -> bool {
        self.services
            .get(&slot)
            .is_some_and(|service| service.replicas > 0)
    }

    /// Ports that no service asks for.
    pub(crate) fn free_ports(&self) -> Vec<usize> {
        let taken: BTreeSet<usize> = self
            .services
            .values()
            .filter_map(|service| service.port)
            .collect();
        (0..PORTS).filter(|port| !taken.contains(port)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(services: &[(usize, Service)]) -> Model {
        let mut model = Model::new(4);
        model.services = services.iter().cloned().collect();
        model
    }

    #[test]
    fn a_service_comes_to_what_its_program_group_and_needs_allow() {
        let plain = Service::plain(0);
        let of = |service: Service| with(&[(0, service)]).fate(0).unwrap();
        assert_eq!(of(plain.clone()), Fate::Runs);
        assert_eq!(
            of(Service {
                stopped: true,
                image: Image::Missing,
                ..plain.clone()
            }),
            Fate::Stopped
        );
        assert_eq!(
            of(Service {
                image: Image::Missing,
                ..plain.clone()
            }),
            Fate::Unsettled
        );
        assert_eq!(
            of(Service {
                program: Program::Crash,
                ..plain.clone()
            }),
            Fate::Unsettled
        );
        assert_eq!(
            of(Service {
                program: Program::Job,
                ..plain.clone()
            }),
            Fate::Completed
        );
        assert_eq!(
            of(Service {
                program: Program::FailedJob,
                ..plain.clone()
            }),
            Fate::Failed
        );
        let mut model = with(&[(
            0,
            Service {
                reads: Some(1),
                ..plain
            },
        )]);
        assert_eq!(model.fate(0), Some(Fate::Runs));
        model.values[1] = None;
        assert_eq!(model.fate(0), Some(Fate::Unsettled));
        model.stopped[0] = true;
        assert_eq!(model.fate(0), Some(Fate::Stopped));
        assert_eq!(model.fate(1), None);
    }

    #[test]
    fn a_service_waits_for_one_that_does_not_run() {
        let user = Service {
            depends_on: Some(0),
            ..Service::plain(1)
        };
        let mut model = with(&[(0, Service::plain(0)), (1, user)]);
        assert_eq!(model.fate(1), Some(Fate::Runs));
        model.services.get_mut(&0).unwrap().replicas = 0;
        assert_eq!(model.fate(1), Some(Fate::Unsettled));
        model.services.remove(&0);
        assert_eq!(model.fate(1), Some(Fate::Unsettled));
    }

    #[test]
    fn a_port_is_free_when_no_service_asks_for_it() {
        let model = with(&[(
            0,
            Service {
                port: Some(1),
                ..Service::plain(0)
            },
        )]);
        assert_eq!(model.free_ports(), [0, 2, 3]);
    }
}
