//! Which step comes next: a function of the seed and of the declared truth, so that the same seed gives the same steps. The world is not asked.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::model::{Fate, GROUPS, Image, Model, Program, Service};
use crate::step::{Blow, Change, Decoy, Harm, Step};

/// So many things that look like ours are made by hand, at most.
const MOST_DECOYS: usize = 6;

/// Each service may have so many replicas.
const MOST_REPLICAS: u32 = 3;

/// Gives one step after the other.
pub(crate) struct Generator {
    random: StdRng,
    /// The declared truth after all steps given so far.
    pub(crate) model: Model,
    /// Whether the engine is the run's own and may be harmed.
    own_engine: bool,
}

/// A step and how long to wait before the one after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) step: Step,
    pub(crate) pause_ms: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64, slots: usize, own_engine: bool) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            model: Model::new(slots),
            own_engine,
        }
    }

    /// The next step; the truth is what it is after it.
    pub(crate) fn next(&mut self) -> Timed {
        let step = loop {
            if let Some(step) = self.candidate() {
                break step;
            }
        };
        step.apply(&mut self.model);
        // Often at once, so that things overlap; sometimes long enough for everything to settle.
        let pause_ms = match self.below(10) {
            0..4 => 0,
            4..9 => self.random.random_range(50..800),
            _ => self.random.random_range(1000..4000),
        };
        Timed { step, pause_ms }
    }

    /// A step that may or may not be possible now.
    fn candidate(&mut self) -> Option<Step> {
        // An empty world cannot be shaken.
        if self.model.services.len() * 2 < self.model.slots && self.below(2) == 0 {
            return self.add();
        }
        match self.below(100) {
            0..9 => self.add(),
            9..38 => self.change(),
            38..42 => self.declared().map(|slot| Step::Remove { slot }),
            42..44 => self.declared().map(|slot| Step::Flip { slot }),
            44..47 => self.declared().map(|slot| Step::Restart { slot }),
            47..49 => self.move_port(),
            49..51 => {
                let group = self.below(GROUPS.len());
                let stopped = !self.model.stopped[group];
                Some(Step::Group { group, stopped })
            }
            51..54 => {
                let (which, there) = (self.below(2), self.below(3) > 0);
                (there || self.model.values[which].is_some())
                    .then_some(Step::Values { which, there })
            }
            54..56 => self.declared().map(|slot| Step::Invalid { slot }),
            56..58 => self.in_folder().map(|slot| Step::HalfWritten { slot }),
            58..60 => self.in_folder().map(|slot| Step::DeleteObject { slot }),
            60..62 => self
                .instance()
                .map(|(slot, ordinal)| Step::DeleteInstance { slot, ordinal }),
            62..64 => Some(Step::Guests {
                there: !self.model.guests,
            }),
            64..82 => self.harm(),
            82..84 => match self.below(4) {
                0 => Some(Step::RemoveEverything),
                1 => self.in_folder().map(|slot| Step::Away { slot }),
                _ => self.declared().map(|slot| Step::RemoveAll { slot }),
            },
            84..86 => Some(Step::RemoveNetwork {
                group: self.below(GROUPS.len()),
            }),
            86..88 => self.decoy(),
            88..95 => {
                let blows = [
                    Blow::Kill,
                    Blow::KillAmongWrites,
                    Blow::KillTwice,
                    Blow::Stop,
                    Blow::Hang,
                ];
                let blow = blows[self.below(5)];
                Some(Step::Server { blow })
            }
            95..97 => Some(Step::Reads {
                count: self.random.random_range(50..300),
            }),
            _ if self.own_engine => {
                let blow = [Blow::Kill, Blow::Stop, Blow::Hang][self.below(3)];
                Some(Step::Engine { blow })
            }
            _ => None,
        }
    }

    fn add(&mut self) -> Option<Step> {
        let free: Vec<usize> = (0..self.model.slots)
            .filter(|slot| !self.model.services.contains_key(slot))
            .collect();
        let slot = *self.pick(&free)?;
        let group = self.below(GROUPS.len());
        let port = if self.below(3) == 0 {
            self.free_port()
        } else {
            None
        };
        let program = self.program();
        let alone = port.is_some() || program != Program::Serve;
        let service = Service {
            image: self.image(),
            program,
            replicas: if alone {
                1
            } else {
                self.random.random_range(1..=MOST_REPLICAS)
            },
            port,
            reads: (self.below(4) == 0).then(|| self.below(2)),
            depends_on: self.dependency(slot, group),
            volume: self.below(4) == 0,
            ..Service::plain(group)
        };
        let says_all = Model::by_api(slot) || self.model.used.contains(&slot) || self.below(2) == 0;
        let replicas = if says_all { service.replicas } else { 1 };
        Some(Step::Add {
            slot,
            service: Service {
                replicas,
                says_all,
                ..service
            },
        })
    }

    fn change(&mut self) -> Option<Step> {
        let slot = self.declared()?;
        let service = self.model.services[&slot].clone();
        let change = match self.below(14) {
            0..2 => Change::Colour,
            2 => Change::Label,
            3 => Change::Memory(16 * self.random.random_range(1..6)),
            4 | 5 => Change::Image(self.image()),
            6 => Change::Program(self.program()),
            7 | 8 if service.port.is_none() && service.program == Program::Serve => {
                Change::Replicas(self.random.random_range(0..=MOST_REPLICAS))
            }
            9 | 10 => Change::Stopped(!service.stopped),
            11 if service.replicas <= 1 => match service.port {
                Some(_) => Change::Port(None),
                None => Change::Port(Some(self.free_port()?)),
            },
            12 => Change::Reads((self.below(2) == 0).then(|| self.below(2))),
            13 => Change::DependsOn(self.dependency(slot, service.group)),
            _ => return None,
        };
        // A job has one replica.
        let is_job = matches!(change, Change::Program(program) if program != Program::Serve);
        if is_job && service.replicas != 1 {
            return None;
        }
        let mut changed = service.clone();
        change.apply(&mut changed, self.model.version + 1);
        (changed != service).then_some(Step::Change { slot, change })
    }

    fn move_port(&mut self) -> Option<Step> {
        let holders: Vec<usize> = self.numbers(|service| service.port.is_some());
        let takers: Vec<usize> =
            self.numbers(|service| service.port.is_none() && service.replicas <= 1);
        let from = *self.pick(&holders)?;
        let to = *self.pick(&takers)?;
        Some(Step::MovePort { from, to })
    }

    fn harm(&mut self) -> Option<Step> {
        let (slot, ordinal) = self.instance()?;
        let all = [
            Harm::Kill,
            Harm::Stop,
            Harm::Pause,
            Harm::Remove,
            Harm::Remove,
            Harm::Restart,
            Harm::ProcessKill,
            Harm::ProcessStop,
            Harm::Rename,
            Harm::Limits,
            Harm::Disconnect,
        ];
        let harm = *self.pick(&all)?;
        Some(Step::Harm {
            slot,
            ordinal,
            harm,
        })
    }

    fn decoy(&mut self) -> Option<Step> {
        let number = self.model.decoys;
        let decoy = *self.pick(&[Decoy::Labels, Decoy::Name, Decoy::Network])?;
        (number < MOST_DECOYS).then_some(Step::Decoy { number, decoy })
    }

    fn image(&mut self) -> Image {
        match self.below(12) {
            0..5 => Image::One,
            5..8 => Image::Two,
            8..11 => Image::Checked,
            _ => Image::Missing,
        }
    }

    fn program(&mut self) -> Program {
        match self.below(12) {
            0..9 => Program::Serve,
            9 => Program::Crash,
            10 => Program::Job,
            _ => Program::FailedJob,
        }
    }

    /// Another service of the same group with a lower number, so that there are no cycles.
    fn dependency(&mut self, slot: usize, group: usize) -> Option<usize> {
        let others: Vec<usize> = self
            .numbers(|service| service.group == group)
            .into_iter()
            .filter(|other| *other < slot)
            .collect();
        if self.below(3) == 0 {
            self.pick(&others).copied()
        } else {
            None
        }
    }

    fn free_port(&mut self) -> Option<usize> {
        let free = self.model.free_ports();
        self.pick(&free).copied()
    }

    fn declared(&mut self) -> Option<usize> {
        let all = self.numbers(|_| true);
        self.pick(&all).copied()
    }

    fn in_folder(&mut self) -> Option<usize> {
        self.declared().filter(|slot| !Model::by_api(*slot))
    }

    fn instance(&mut self) -> Option<(usize, u32)> {
        let slot = self.declared()?;
        let replicas = self.model.services[&slot].replicas;
        (replicas > 0).then(|| (slot, self.random.random_range(0..replicas)))
    }

    fn numbers(&self, wanted: impl Fn(&Service) -> bool) -> Vec<usize> {
        let services = self.model.services.iter();
        services
            .filter(|(_, service)| wanted(service))
            .map(|(slot, _)| *slot)
            .collect()
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}

/// The steps after which everything can come to rest: what is missing is put there, what crashes is mended.
pub(crate) fn closing(model: &mut Model) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut take = |model: &mut Model, step: Step| {
        step.apply(model);
        steps.push(step);
    };
    for which in 0..model.values.len() {
        if model.values[which].is_none() {
            take(model, Step::Values { which, there: true });
        }
    }
    let numbers: Vec<usize> = model.services.keys().copied().collect();
    for slot in numbers {
        let service = model.services[&slot].clone();
        if service.image == Image::Missing {
            take(
                model,
                Step::Change {
                    slot,
                    change: Change::Image(Image::One),
                },
            );
        }
        if service.program == Program::Crash {
            take(
                model,
                Step::Change {
                    slot,
                    change: Change::Program(Program::Serve),
                },
            );
        }
        if model.fate(slot) == Some(Fate::Unsettled) {
            take(
                model,
                Step::Change {
                    slot,
                    change: Change::DependsOn(None),
                },
            );
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn steps(seed: u64, count: usize, own_engine: bool) -> Vec<Timed> {
        let mut generator = Generator::new(seed, 8, own_engine);
        (0..count).map(|_| generator.next()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_steps_and_another_one_others() {
        assert_eq!(steps(7, 300, false), steps(7, 300, false));
        assert_ne!(steps(7, 300, false), steps(8, 300, false));
    }

    #[test]
    fn every_kind_of_step_occurs() {
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        for timed in steps(1, 4000, true) {
            *kinds.entry(timed.step.kind()).or_default() += 1;
        }
        // 11 changes (stop and start apart), 4 of values, 2 of groups, 2 of the namespace, 10 harms, 3 decoys, 5 blows on clos, 3 on the engine, 14 others.
        assert_eq!(
            kinds.len(),
            11 + 4 + 2 + 2 + 10 + 3 + 5 + 3 + 14,
            "{kinds:#?}"
        );
    }

    #[test]
    fn the_engine_is_harmed_only_when_it_is_the_runs_own() {
        let harms = |own| {
            steps(3, 1000, own)
                .iter()
                .any(|timed| matches!(timed.step, Step::Engine { .. }))
        };
        assert!(harms(true) && !harms(false));
    }

    #[test]
    fn no_truth_is_ever_declared_that_the_rules_refuse() {
        let mut generator = Generator::new(11, 8, false);
        for _ in 0..3000 {
            generator.next();
            let mut ports = std::collections::BTreeSet::new();
            for (slot, service) in &generator.model.services {
                assert!(
                    service.port.is_none_or(|port| ports.insert(port)),
                    "two ask for one port"
                );
                assert!(
                    service.port.is_none() || service.replicas <= 1,
                    "a port and several replicas"
                );
                assert!(service.depends_on.is_none_or(|on| on < *slot), "a cycle");
                assert!(service.program == Program::Serve || service.replicas <= 3);
            }
        }
    }

    #[test]
    fn after_the_closing_steps_everything_can_come_to_rest() {
        for seed in 0..50 {
            let mut generator = Generator::new(seed, 8, false);
            for _ in 0..100 {
                generator.next();
            }
            closing(&mut generator.model);
            let model = &generator.model;
            let unsettled = model
                .services
                .keys()
                .find(|slot| model.fate(**slot) == Some(Fate::Unsettled));
            assert_eq!(unsettled, None, "seed {seed}");
        }
    }
}
