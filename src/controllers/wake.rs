//! How reconcilers are woken and driven: a queue of object names a kind, and the loop that takes from it. Any part may wake any
//! object; why it was woken is told to nobody. What a reconciler does is its own module's business.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use clos_telemetry::Chain;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Resource;
use kube::runtime::controller::{Action, Config, Error, applier};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

/// Wakes the reconciler of one kind. Clones wake the same one. The queue has no bound of its own: the reconciler's scheduler takes
/// from it at once and keeps each object's name once.
#[derive(Debug)]
pub(crate) struct Waker<K: Resource<DynamicType = ()>>(mpsc::UnboundedSender<ObjectRef<K>>);

/// The other end of a [`Waker`].
pub(crate) type Queue<K> = BoxStream<'static, Result<ObjectRef<K>, Infallible>>;

/// Why a reconciler's loop ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    /// The cache of the kind went away.
    #[error("the {kind} controller lost its cache")]
    CacheLost {
        /// The kind.
        kind: String,
    },
}

impl<K: Resource<DynamicType = ()>> Clone for Waker<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Waker<K> {
    /// A waker and its queue.
    pub(crate) fn new() -> (Self, Queue<K>)
    where
        ObjectRef<K>: Send,
    {
        let (sender, receiver) = mpsc::unbounded_channel();
        (
            Self(sender),
            UnboundedReceiverStream::new(receiver).map(Ok).boxed(),
        )
    }

    /// Wakes one object.
    pub(crate) fn wake(&self, name: ObjectRef<K>) {
        // The queue is gone only while everything stops.
        let _ = self.0.send(name);
    }

    /// Wakes one object by its name.
    pub(crate) fn wake_named(&self, namespace: &str, name: &str) {
        self.wake(ObjectRef::new(name).within(namespace));
    }

    /// Wakes every object of a cache.
    pub(crate) fn wake_all(&self, store: &Store<K>)
    where
        K: Clone,
    {
        for object in store.state() {
            self.wake(ObjectRef::from_obj(&*object));
        }
    }
}

/// Reconciles what the queue names, each object by one pass at a time and different ones side by side, until `stop`. Passes that
/// have begun are finished. A failed pass is logged here and nowhere else.
pub(crate) async fn drive<K, Ctx, Pass, E>(
    store: Store<K>,
    queue: Queue<K>,
    context: Arc<Ctx>,
    mut reconcile: impl FnMut(Arc<K>, Arc<Ctx>) -> Pass,
    error_policy: impl Fn(&K, &E, &Ctx) -> Action,
    stop: CancellationToken,
) -> Result<(), DriveError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    Ctx: Send + Sync,
    Pass: Future<Output = Result<Action, E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let queue = queue.take_until(stop.clone().cancelled_owned());
    let mut passes = std::pin::pin!(applier(
        move |object, context| Box::pin(reconcile(object, context)),
        |object, error, context| error_policy(&object, error, &context),
        context,
        store,
        queue,
        Config::default(),
    ));
    while let Some(pass) = passes.next().await {
        match pass {
            Ok(_) | Err(Error::ObjectNotFound(_)) => {}
            Err(Error::ReconcilerFailed(error, object)) => {
                tracing::warn!(object = %object, error = %Chain(&error), "reconcile failed, trying again");
            }
            Err(Error::QueueError(never)) => match never {},
            // The watch that fills the cache was stopped before it had told everything.
            Err(Error::RunnerError(_)) if stop.is_cancelled() => return Ok(()),
            Err(Error::RunnerError(_)) => {
                return Err(DriveError::CacheLost {
                    kind: K::kind(&()).into_owned(),
                });
            }
        }
    }
    Ok(())
}
