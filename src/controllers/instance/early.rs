//! What waits after a start: a source that was not looked at yet may declare what is newer than the store, which may have been restored from an
//! older backup. Until then no container is stopped or removed for what the store declares; making and starting does not wait.

use std::time::Duration;

use clos_plan::action::{Action as Step, EngineAction, Target};
use clos_plan::instance::InstancePlan;
use clos_plan::observed::EngineView;
use clos_plan::service::revision;
use clos_resources::{Instance, Service, names};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep};

use super::{Agent, Error};

/// How long the Instances of a Service, which are changed one after the other, are given to come to what their containers are already.
const CATCHING_UP: Duration = Duration::from_secs(30);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(100);

impl Agent {
    /// Whether a plan ends what is there, and what is declared is not known yet.
    pub(super) fn is_early(&self, planned: &InstancePlan) -> bool {
        !*self.declared.borrow() && ends_something(planned)
    }

    /// Waits until what is declared is known and, if it is what the container is of already, until the Instance says so, too. Then it is to be
    /// looked at again.
    pub(super) async fn look_again_later(
        &self,
        instance: &Instance,
        view: &EngineView,
    ) -> Result<Action, Error> {
        let stop = &self.executor.stop;
        let waiting = async {
            // Its sender is gone only while everything stops.
            let _ = self.declared.clone().wait_for(|declared| *declared).await;
            let deadline = Instant::now() + CATCHING_UP;
            while self.is_behind(instance, view).await? && Instant::now() < deadline {
                sleep(LOOK).await;
            }
            Ok(Action::requeue(Duration::ZERO))
        };
        let waited = stop.run_until_cancelled(waiting).await;
        waited.unwrap_or_else(|| Ok(Action::await_change()))
    }

    /// Whether the container is what the Service declares, and the Instance is not yet.
    async fn is_behind(&self, instance: &Instance, view: &EngineView) -> Result<bool, Error> {
        let failed = |what: &str, name: &str| {
            let what = format!("{what} {name}");
            |source| Error::Read { what, source }
        };
        let name = instance.name_any();
        let instances = self.instances(instance);
        let now = instances.get_opt(&name).await;
        let Some(now) = now.map_err(failed("instance", &name))? else {
            return Ok(false);
        };
        let services: Api<Service> = Api::namespaced(
            self.client.clone(),
            &instance.namespace().unwrap_or_default(),
        );
        let name = &instance.spec.service;
        let service = services.get_opt(name).await;
        let Some(service) = service.map_err(failed("service", name))? else {
            return Ok(false);
        };
        let declared = revision(&service);
        Ok(now.spec.revision != declared && shows(view, &declared))
    }
}

/// Whether there is a container of this revision.
fn shows(view: &EngineView, revision: &str) -> bool {
    match view {
        EngineView::Unknown { .. } => false,
        EngineView::Known(observed) => observed.containers.values().any(|container| {
            let label = container.labels.get(names::LABEL_REVISION);
            label.is_some_and(|label| label == revision)
        }),
    }
}

fn ends_something(planned: &InstancePlan) -> bool {
    planned.plan.steps.iter().any(|step| {
        matches!(
            step.action,
            Step::Engine(
                EngineAction::StopContainer { .. }
                    | EngineAction::RemoveContainer {
                        container: Target::Existing { .. },
                    }
            )
        )
    })
}
