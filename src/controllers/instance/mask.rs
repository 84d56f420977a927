//! What is told of an Instance, without what is secret.

use clos_plan::observed::{ContainerState, Health, Observed};
use clos_resources::instance::InstanceStatus;

use super::Agent;

impl Agent {
    /// The engine's words may quote what it was asked, environment included.
    pub(super) fn mask(&self, status: &mut InstanceStatus) {
        for condition in &mut status.conditions {
            condition.message = self.redactor.mask(&condition.message).into_owned();
        }
        for line in status
            .backoff
            .iter_mut()
            .flat_map(|backoff| &mut backoff.last_lines)
        {
            *line = self.redactor.mask(line).into_owned();
        }
    }

    /// What a program writes may be what it must keep to itself. Masked while it is whole: a part of a secret is not recognised.
    pub(super) fn mask_output(&self, observed: &mut Observed) {
        for container in observed.containers.values_mut() {
            if let ContainerState::Running {
                health: Health::Unhealthy { said },
                ..
            } = &mut container.state
            {
                *said = self.redactor.mask(said).into_owned();
            }
        }
    }
}
