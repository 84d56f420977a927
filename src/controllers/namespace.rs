//! The end of a namespace: when it is being deleted, everything in it is deleted, and once nothing is left it is let go. Objects with
//! finalizers go when their own controllers have done their part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clos_audit::JournalError;
use clos_audit::event::Outcome as AuditOutcome;
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};

use crate::cache::place;
use crate::gc::resources::{Kinds, Metadata};
use crate::retry::Retries;
use crate::trail::{Act, Trail};

/// The finalizer of a namespace, in its spec.
const FINALIZER: &str = "kubernetes";
/// Every object that goes wakes us; this is for the case that something else keeps a namespace from being let go.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What the controller works with.
pub(crate) struct Namespaces {
    /// The API, as this controller.
    pub(crate) client: Client,
    /// What can lie in a namespace.
    pub(crate) kinds: Kinds,
    /// Audit and metrics of passes.
    pub(crate) trail: Trail,
    /// Pauses after failures.
    pub(crate) retries: Retries,
}

/// What a pass over a namespace failed at.
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
    /// Deleting something in it.
    #[error("cannot delete {what}")]
    Delete {
        /// What was to be deleted.
        what: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Letting it go.
    #[error("cannot let namespace {name} go")]
    Finalize {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Recording the pass.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// One thing in a namespace.
struct Content {
    kind: usize,
    name: String,
    uid: Option<String>,
    deleting: bool,
}

/// What is to be done about a namespace that is being deleted.
#[derive(Debug, PartialEq)]
enum Planned {
    /// Delete these, by index.
    Delete(Vec<usize>),
    /// Everything is on its way: wait.
    Wait,
    /// Nothing is left: let it go.
    Finalize,
}

/// One pass over one namespace.
pub(crate) async fn reconcile(
    named: Arc<Namespace>,
    namespaces: Arc<Namespaces>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let Some(namespace) = namespaces.read(&named).await? else {
        return Ok(Action::await_change());
    }; // 1. read
    if !is_ending(&namespace) {
        return Ok(Action::await_change()); // 2. desired: it stays, or it is already let go
    }
    let contents = namespaces.observe(&namespace.name_any()).await?; // 3. observe
    let planned = plan(&contents); // 4. plan
    let actions = namespaces.execute(&namespace, &contents, &planned).await?; // 5. execute
    namespaces
        .conclude(&namespace, &planned, actions, started)
        .await // 6. status: the API server keeps the phase
}

/// When a failed pass is tried again.
pub(crate) fn error_policy(
    namespace: &Namespace,
    error: &Error,
    namespaces: &Namespaces,
) -> Action {
    let pause = namespaces.retries.unfinished(place(namespace));
    match error {
        Error::Read { .. } | Error::Delete { .. } | Error::Finalize { .. } | Error::Journal(_) => {
            Action::requeue(pause)
        }
    }
}

fn is_ending(namespace: &Namespace) -> bool {
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.as_ref());
    namespace.metadata.deletion_timestamp.is_some()
        && finalizers.is_some_and(|finalizers| finalizers.iter().any(|name| name == FINALIZER))
}

fn plan(contents: &[Content]) -> Planned {
    if contents.is_empty() {
        return Planned::Finalize;
    }
    let staying: Vec<usize> = (0..contents.len())
        .filter(|&index| !contents[index].deleting)
        .collect();
    if staying.is_empty() {
        Planned::Wait
    } else {
        Planned::Delete(staying)
    }
}

impl Namespaces {
    async fn read(&self, named: &Namespace) -> Result<Option<Namespace>, Error> {
        let name = named.name_any();
        let api: Api<Namespace> = Api::all(self.client.clone());
        api.get_opt(&name).await.map_err(|source| Error::Read {
            what: format!("namespace {name}"),
            source,
        })
    }

    async fn observe(&self, namespace: &str) -> Result<Vec<Content>, Error> {
        let mut contents = Vec::new();
        for (index, kind) in self
            .kinds
            .all()
            .iter()
            .enumerate()
            .filter(|(_, kind)| kind.namespaced)
        {
            let failed = |source| Error::Read {
                what: format!("{} of namespace {namespace}", kind.resource.plural),
                source,
            };
            let listed = kind
                .within(&self.client, namespace)
                .list(&ListParams::default())
                .await
                .map_err(failed)?;
            contents.extend(listed.items.iter().map(|object: &Metadata| Content {
                kind: index,
                name: object.name_any(),
                uid: object.uid(),
                deleting: object.metadata.deletion_timestamp.is_some(),
            }));
        }
        Ok(contents)
    }

    /// Answers what was done, one line each.
    async fn execute(
        &self,
        namespace: &Namespace,
        contents: &[Content],
        planned: &Planned,
    ) -> Result<Vec<String>, Error> {
        match planned {
            Planned::Wait => Ok(Vec::new()),
            Planned::Delete(indices) => {
                let mut actions = Vec::new();
                for &index in indices {
                    actions.push(self.delete(&namespace.name_any(), &contents[index]).await?);
                }
                Ok(actions)
            }
            Planned::Finalize => self.finalize(namespace).await.map(|action| vec![action]),
        }
    }

    async fn delete(&self, namespace: &str, content: &Content) -> Result<String, Error> {
        let kind = &self.kinds.all()[content.kind];
        let what = format!(
            "{} {}",
            kind.resource.kind.to_ascii_lowercase(),
            content.name
        );
        let preconditions = Preconditions {
            uid: content.uid.clone(),
            resource_version: None,
        };
        let params = DeleteParams::background().preconditions(preconditions);
        #[cfg(feature = "failpoints")]
        clos_failpoints::before("empty namespace");
        let deleted = kind
            .within(&self.client, namespace)
            .delete(&content.name, &params)
            .await;
        #[cfg(feature = "failpoints")]
        clos_failpoints::after("empty namespace");
        match deleted {
            Ok(_) => Ok(format!("delete {what}")),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(format!("delete {what}"))
            }
            Err(source) => Err(Error::Delete { what, source }),
        }
    }

    /// Events go last: they tell how the others ended.
    async fn finalize(&self, namespace: &Namespace) -> Result<String, Error> {
        let name = namespace.name_any();
        let events: Api<Event> = Api::namespaced(self.client.clone(), &name);
        let failed = |source| Error::Delete {
            what: format!("events of namespace {name}"),
            source,
        };
        #[cfg(feature = "failpoints")]
        clos_failpoints::before("delete events");
        events
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .map_err(failed)?;
        #[cfg(feature = "failpoints")]
        clos_failpoints::after("delete events");
        let mut released = namespace.clone();
        if let Some(finalizers) = released
            .spec
            .as_mut()
            .and_then(|spec| spec.finalizers.as_mut())
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let api: Api<Namespace> = Api::all(self.client.clone());
        #[cfg(feature = "failpoints")]
        clos_failpoints::before("finalize namespace");
        let finalized = api
            .replace_subresource("finalize", &name, &PostParams::default(), &released)
            .await;
        #[cfg(feature = "failpoints")]
        clos_failpoints::after("finalize namespace");
        match finalized {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(source) => return Err(Error::Finalize { name, source }),
        }
        Ok(format!("finalize namespace {name}"))
    }

    async fn conclude(
        &self,
        namespace: &Namespace,
        planned: &Planned,
        actions: Vec<String>,
        started: Instant,
    ) -> Result<Action, Error> {
        let cause = format!("namespace {} is being deleted", namespace.name_any());
        let act = (!actions.is_empty()).then_some(Act {
            cause,
            actions,
            result: AuditOutcome::Changed,
        });
        self.trail.pass(namespace, act, started).await?;
        self.retries.succeeded(&place(namespace));
        match planned {
            Planned::Finalize => Ok(Action::await_change()),
            Planned::Delete(_) => Ok(Action::requeue(Duration::ZERO)),
            Planned::Wait => Ok(Action::requeue(LOOK_AGAIN)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Planned, plan};

    fn content(name: &str, deleting: bool) -> Content {
        Content {
            kind: 0,
            name: name.to_owned(),
            uid: None,
            deleting,
        }
    }

    #[test]
    fn a_namespace_goes_when_it_is_empty_and_not_before() {
        assert_eq!(plan(&[]), Planned::Finalize);
        assert_eq!(plan(&[content("a", true)]), Planned::Wait);
        assert_eq!(
            plan(&[content("a", true), content("b", false)]),
            Planned::Delete(vec![1])
        );
    }
}
