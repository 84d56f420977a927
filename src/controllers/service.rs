//! Which Instances a Service has: made, changed and deleted here and nowhere else, and rolled up into the Service's status. Deciding is
//! `clos-plan`'s; containers are the agent's.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use clos_audit::JournalError;
use clos_plan::desired::references;
use clos_plan::order::mistakes;
use clos_plan::service::{ServiceInput, ServicePlan, plan};
use clos_plan::status::{FailureKind, Outcome};
use clos_plan::values::version;
use clos_resources::conditions::{Reason, ready};
use clos_resources::instance::{ValueKind, ValueVersion};
use clos_resources::service::ServiceStatus;
use clos_resources::{Group, Instance, Service};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cache::{Cache, place};
use crate::events::{Events, News};
use crate::execute::{Executed, Executor};
use crate::index::{Index, Interest};
use crate::retry::Retries;
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
    /// Kubernetes Events.
    pub(crate) events: Arc<Events>,
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
    /// Reading from the API.
    #[error("cannot read {what}")]
    Read {
        /// What was read.
        what: String,
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
    values: BTreeSet<ValueVersion>,
    mistake: Option<String>,
}

/// One pass over one Service.
pub(crate) async fn reconcile(
    named: Arc<Service>,
    services: Arc<Services>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let Some((service, values)) = services.read(&named).await? else {
        return Ok(Action::await_change());
    }; // 1. read
    let mistake = services.desired(&service); // 2. desired: every mistake that shows only beside other objects
    let read = services.observe(service, values, mistake); // 3. observe: the Instances there are
    let planned = plan(&services.input(&read)); // 4. plan
    let executed = services.executor.execute(&planned.plan, &|_, _| {}).await; // 5. execute
    services.conclude(&read, &planned, &executed, started).await // 6. status
}

/// When a failed pass is tried again.
pub(crate) fn error_policy(service: &Service, error: &Error, services: &Services) -> Action {
    let pause = services.retries.unfinished(place(service));
    match error {
        Error::Read { .. } | Error::Status(_) | Error::Journal(_) => Action::requeue(pause),
    }
}

impl Services {
    /// The Service as it is now, and the versions of what it takes values from; nothing when it is gone or going: then its Instances are the
    /// garbage collector's.
    async fn read(
        &self,
        named: &Service,
    ) -> Result<Option<(Service, BTreeSet<ValueVersion>)>, Error> {
        let name = named.name_any();
        let found = self.api(named).get_opt(&name).await;
        let found = found.map_err(|source| Error::Read {
            what: format!("service {name}"),
            source,
        })?;
        match found.filter(|service| service.metadata.deletion_timestamp.is_none()) {
            None => Ok(None),
            Some(service) => {
                let values = self.values(&service).await?;
                Ok(Some((service, values)))
            }
        }
    }

    /// The versions of the Secrets and `ConfigMaps` that the Service takes values from, as far as they exist. The values themselves are the
    /// agent's business.
    async fn values(&self, service: &Service) -> Result<BTreeSet<ValueVersion>, Error> {
        let namespace = service.namespace().unwrap_or_default();
        let references = references(&service.spec.container);
        let mut values = BTreeSet::new();
        for name in references.secrets {
            let found = self.version::<Secret>(&namespace, &name, ValueKind::Secret);
            values.extend(found.await?);
        }
        for name in references.config_maps {
            let found = self.version::<ConfigMap>(&namespace, &name, ValueKind::ConfigMap);
            values.extend(found.await?);
        }
        Ok(values)
    }

    async fn version<K>(
        &self,
        namespace: &str,
        name: &str,
        kind: ValueKind,
    ) -> Result<Option<ValueVersion>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_metadata_opt(name).await;
        let found = found.map_err(|source| Error::Read {
            what: format!("the metadata of {} {name}", K::kind(&())),
            source,
        })?;
        Ok(found.map(|found| version(kind, &found.metadata)))
    }

    fn desired(&self, service: &Service) -> Option<String> {
        if service.spec.depends_on.is_empty() {
            return None;
        }
        let mut known = vec![Arc::new(service.clone())];
        known.extend(self.dependencies(service));
        mistakes(&known).remove(&service.name_any())
    }

    /// What the Service depends on within its Group, directly or by others, without itself: no other Service can make a circle with it.
    fn dependencies(&self, service: &Service) -> Vec<Arc<Service>> {
        let (namespace, own) = place(service);
        let direct = |service: &Service| -> Vec<String> {
            let dependencies = service.spec.depends_on.iter();
            dependencies.map(|on| on.service.clone()).collect()
        };
        let mut seen = BTreeSet::from([own]);
        let mut next = direct(service);
        let mut found = Vec::new();
        while let Some(name) = next.pop() {
            let other = ObjectRef::new(&name).within(&namespace);
            if !seen.insert(name) {
                continue;
            }
            let other = self.cache.services.get(&other);
            if let Some(other) = other.filter(|other| other.spec.group == service.spec.group) {
                next.extend(direct(&other));
                found.push(other);
            }
        }
        found
    }

    fn observe(
        &self,
        service: Service,
        values: BTreeSet<ValueVersion>,
        mistake: Option<String>,
    ) -> Read {
        let (namespace, name) = place(&service);
        let replicas = self
            .index
            .interested(&Interest::ReplicaOf(namespace.clone(), name));
        let instances = replicas.iter().filter_map(|(namespace, name)| {
            self.cache
                .instances
                .get(&ObjectRef::new(name).within(namespace))
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
            values,
            mistake,
        }
    }

    fn input<'a>(&'a self, read: &'a Read) -> ServiceInput<'a> {
        ServiceInput {
            service: &read.service,
            group: read.group.as_deref(),
            instances: &read.instances,
            mistake: read.mistake.as_deref(),
            values: Some(&read.values),
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
        let wrote = write_status(
            &self.api(service),
            &service.name_any(),
            &uid,
            service.status.as_ref(),
            &planned.status,
        )
        .await;
        // What was done was done, also when the status could not be written.
        self.trail
            .pass(service, Act::of(&planned.plan, executed, None), started)
            .await?;
        match wrote {
            // Deleted meanwhile: nobody is left to tell.
            Err(StatusError::Write {
                source: kube::Error::Api(answer),
                ..
            }) if answer.is_not_found() => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                if let Some(news) = news(service, &planned.status) {
                    let about = service.object_ref(&());
                    self.events
                        .tell(&teller(service), &about, None, &[news])
                        .await;
                }
            }
        }
        let name = place(service);
        match &executed.outcome {
            Outcome::AllDone => {
                self.retries.succeeded(&name);
                Ok(Action::await_change())
            }
            Outcome::Failed { failure, .. } if failure.kind == FailureKind::ApiConflict => {
                Ok(Action::requeue(self.retries.conflicted(name)))
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

/// Who tells: `kubectl describe` shows it beside the news.
fn teller(service: &Service) -> String {
    format!("service/{}", service.name_any())
}

/// What somebody has to put right before the Service can be as declared, when that is new. What happens to its Instances they tell
/// themselves.
fn news(service: &Service, status: &ServiceStatus) -> Option<News> {
    const TOLD: [Reason; 3] = [
        Reason::InvalidSpec,
        Reason::DependencyNotReady,
        Reason::PortConflict,
    ];
    let before = service.status.as_ref();
    let before = before.and_then(|status| ready(&status.conditions));
    let now = ready(&status.conditions)?;
    if before.is_some_and(|before| before.reason == now.reason) {
        return None;
    }
    let reason = TOLD.iter().find(|reason| reason.as_str() == now.reason)?;
    Some(News {
        // A dependency is often only slow.
        warning: *reason != Reason::DependencyNotReady,
        reason: reason.as_str(),
        action: "Condition",
        note: now.message.clone(),
    })
}
