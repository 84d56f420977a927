//! How the steps of a plan are carried out in a world, and the API's part of it; the engine's part is in `engine`.

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::action::{Action, ApiAction, Plan};
use clos_plan::status::{Failure, FailureKind, Outcome};
use clos_resources::names;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::World;

impl World {
    /// Carries out steps one after another: in the order they are listed, or, when hasty, always the last one that may be taken
    /// already, as if everything before it were slow.
    pub(crate) fn execute(&mut self, plan: &Plan) -> Outcome {
        let mut made = BTreeMap::new();
        self.last_made = None;
        let mut open: BTreeSet<usize> = (0..plan.steps.len()).collect();
        loop {
            let may_be_taken = |step: &&usize| {
                plan.steps[**step]
                    .after
                    .iter()
                    .all(|before| !open.contains(before))
            };
            let next = if self.hasty {
                open.iter().rev().find(may_be_taken)
            } else {
                open.iter().find(may_be_taken)
            };
            let Some(&step) = next else { break };
            open.remove(&step);
            self.now += SignedDuration::from_millis(100);
            let result = match &plan.steps[step].action {
                Action::Engine(action) => self.engine.execute(action, step, &mut made, self.now),
                action @ Action::Api(_) => self.apply(action),
            };
            self.last_made = made.values().next().cloned();
            if let Err(failure) = result {
                return Outcome::Failed { step, failure };
            }
        }
        assert!(open.is_empty(), "steps wait for each other:\n{plan}");
        Outcome::AllDone
    }

    pub(super) fn apply(&mut self, action: &Action) -> Result<(), Failure> {
        let Action::Api(action) = action else {
            panic!("{action} is not for the API")
        };
        match action {
            ApiAction::CreateInstance(instance) => {
                let name = instance.metadata.name.clone().unwrap();
                let mut instance = (**instance).clone();
                instance.metadata.uid = Some(format!("uid-{}", self.number()));
                instance.metadata.generation = Some(1);
                assert!(
                    self.instances.insert(name, instance).is_none(),
                    "an instance of that name exists"
                );
            }
            ApiAction::UpdateInstance(instance) => {
                let present = self
                    .instances
                    .get_mut(instance.metadata.name.as_ref().unwrap())
                    .unwrap();
                if present.spec != instance.spec {
                    present.metadata.generation =
                        present.metadata.generation.map(|generation| generation + 1);
                }
                present.spec = instance.spec.clone();
                present
                    .metadata
                    .labels
                    .clone_from(&instance.metadata.labels);
                present
                    .metadata
                    .owner_references
                    .clone_from(&instance.metadata.owner_references);
            }
            ApiAction::DeleteInstance { name, uid, .. } => {
                let instance = self.instances.get_mut(name).unwrap();
                assert_eq!(instance.metadata.uid.as_ref(), Some(uid));
                instance.metadata.deletion_timestamp = Some(Time(self.now));
            }
            ApiAction::ClaimPort(port) => {
                if self
                    .ports
                    .iter()
                    .any(|present| present.metadata.name == port.metadata.name)
                {
                    return Err(Failure {
                        kind: FailureKind::ApiConflict,
                        message: "somebody was faster".into(),
                    });
                }
                let mut port = (**port).clone();
                port.metadata.uid = Some(format!("uid-{}", self.number()));
                self.ports.push(port);
            }
            ApiAction::ReleasePort { uid, port, .. } => {
                let holder = &port.holder.as_ref().unwrap().uid;
                let users = self
                    .engine
                    .containers
                    .values()
                    .filter(|user| user.labels.get(names::LABEL_INSTANCE_UID) == Some(holder));
                let mut used = users.flat_map(|user| &user.live.ports);
                assert!(
                    used.all(|used| used.host_port != port.port),
                    "i4: a port is released before its container is gone"
                );
                self.ports
                    .retain(|port| port.metadata.uid.as_ref() != Some(uid));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }
}
