//! Which Instances a Service has: made, changed and deleted here and nowhere else, and rolled up into the Service's status. Deciding is
//! `clos-plan`'s; containers are the agent's.

use std::sync::Arc;
use std::time::Instant;

use clos_audit::JournalError;
use clos_plan::order::mistakes;
use clos_plan::service::{ServiceInput, ServicePlan, plan};
use clos_plan::status::{FailureKind, Outcome};
use clos_resources::{Group, Instance, Service};
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};

use crate::cache::{Cache, place};
use crate::execute::{Executed, Executor};
use crate::index::{Index, Interest};
use crate::retry::{AFTER_CONFLICT, Retries};
use crate::status::{StatusError, write_status};
use crate::trail::{Act, Trail};

/// What the controller works with.
pub(crate) struct Services {
    /// The API, as this controller.
    pub(crate) client: Client,
    /// What is read without asking the API: a stale read makes a write that the API refuses, no wrong one.
    pub(crate) cache: Cache,
    /// Which Instances replicate which Service.
    pub(crate) index: Arc<Index>,
    /// Whoever carries plans out.
    pub(crate) executor: Executor,
    /// Audit and metrics of passes.
    pub(crate) trail: Trail,
    /// Pauses after failures.
    pub(crate) retries: Retries,
    /// The Host for new Instances.
    pub(crate) host: String,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
}

/// What a pass over a Service failed at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Reading the Service.
    #[error("cannot read service {name}")]
    Read {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Writing the status.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Recording the pass.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A Service and everything its plan depends on.
struct Read {
    service: Service,
    group: Option<Arc<Group>>,
    instances: Vec<Instance>,
    mistake: Option<String>,
}

/// One pass over one Service.
pub(crate) async fn reconcile(
    named: Arc<Service>,
    services: Arc<Services>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let Some(service) = services.read(&named).await? else {
        return Ok(Action::await_change());
    }; // 1. read
    let mistake = services.desired(&service); // 2. desired: every mistake that shows only beside other objects
    let read = services.observe(service, mistake); // 3. observe: the Instances there are
    let planned = plan(&services.input(&read)); // 4. plan
    let executed = services.executor.execute(&planned.plan, &|_, _| {}).await; // 5. execute
    services.conclude(&read, &planned, &executed, started).await // 6. status
}

/// When a failed pass is tried again.
pub(crate) fn error_policy(service: &Service, error: &Error, services: &Services) -> Action {
    let pause = services.retries.failed(place(service));
    match error {
        Error::Read { .. } | Error::Status(_) | Error::Journal(_) => Action::requeue(pause),
    }
}

impl Services {
    /// The Service as it is now; nothing when it is gone or going: then its Instances are the garbage collector's.
    async fn read(&self, named: &Service) -> Result<Option<Service>, Error> {
        let name = named.name_any();
        let service = self
            .api(named)
            .get_opt(&name)
            .await
            .map_err(|source| Error::Read { name, source })?;
        Ok(service.filter(|service| service.metadata.deletion_timestamp.is_none()))
    }

    fn desired(&self, service: &Service) -> Option<String> {
        if service.spec.depends_on.is_empty() {
            return None;
        }
        let namespace = service.namespace();
        let siblings = self.cache.services.state_filter(|other| {
            other.spec.group == service.spec.group
                && other.namespace() == namespace
                && other.name_any() != service.name_any()
        });
        let mut group: Vec<Service> = siblings.into_iter().map(Arc::unwrap_or_clone).collect();
        group.push(service.clone());
        mistakes(&group).remove(&service.name_any())
    }

    fn observe(&self, service: Service, mistake: Option<String>) -> Read {
        let (namespace, name) = place(&service);
        let uid = service.uid();
        let owned = |instance: &Arc<Instance>| {
            let owner = instance
                .owner_references()
                .iter()
                .find(|owner| owner.controller == Some(true));
            owner.map(|owner| &owner.uid) == uid.as_ref()
        };
        let replicas = self
            .index
            .interested(&Interest::ReplicaOf(namespace.clone(), name));
        let instances = replicas.iter().filter_map(|(namespace, name)| {
            self.cache
                .instances
                .get(&ObjectRef::new(name).within(namespace))
                .filter(owned)
                .map(Arc::unwrap_or_clone)
        });
        let instances = instances.collect();
        let group = self
            .cache
            .groups
            .get(&ObjectRef::new(&service.spec.group).within(&namespace));
        Read {
            service,
            group,
            instances,
            mistake,
        }
    }

    fn input<'a>(&'a self, read: &'a Read) -> ServiceInput<'a> {
        ServiceInput {
            service: &read.service,
            group: read.group.as_deref(),
            instances: &read.instances,
            mistake: read.mistake.as_deref(),
            host: &self.host,
            now: (self.clock)(),
        }
    }

    async fn conclude(
        &self,
        read: &Read,
        planned: &ServicePlan,
        executed: &Executed,
        started: Instant,
    ) -> Result<Action, Error> {
        let service = &read.service;
        let uid = service.uid().unwrap_or_default();
        write_status(
            &self.api(service),
            &service.name_any(),
            &uid,
            service.status.as_ref(),
            &planned.status,
        )
        .await?;
        self.trail
            .pass(service, Act::of(&planned.plan, executed, None), started)
            .await?;
        let name = place(service);
        match &executed.outcome {
            Outcome::AllDone => {
                self.retries.succeeded(&name);
                Ok(Action::await_change())
            }
            Outcome::Failed { failure, .. } if failure.kind == FailureKind::ApiConflict => {
                let pause = self.retries.failed(name);
                Ok(Action::requeue(pause.min(AFTER_CONFLICT)))
            }
            Outcome::Failed { failure, .. } => {
                tracing::warn!(service = %service.name_any(), reason = %failure.message, "cannot change an instance, trying again");
                Ok(Action::requeue(self.retries.failed(name)))
            }
        }
    }

    fn api(&self, service: &Service) -> Api<Service> {
        Api::namespaced(
            self.client.clone(),
            &service.namespace().unwrap_or_default(),
        )
    }
}
