//! Pulling an image, told in bytes, once for everybody who wants it at that time. Whether it is needed is planning.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use tokio::sync::watch;

use super::DockerEngine;
use super::failure::{self, Call};
use crate::engine::Progress;
use crate::error::Error;

/// A pull may take hours, but the engine tells at least once a second how far it is.
const SILENCE: Duration = Duration::from_mins(1);

/// How long the engine may take to say that it is still there.
const PING: Duration = Duration::from_secs(10);

/// How a pull ended, for everybody who waits for it.
type Ended = Shared<BoxFuture<'static, Result<(), Error>>>;

/// The pulls that are under way, by image: who wants an image that is being pulled waits for that one.
#[derive(Clone, Default)]
pub(super) struct Pulls(Arc<Mutex<BTreeMap<String, UnderWay>>>);

struct UnderWay {
    /// Those who wait drive it. When all of them gave up, it is gone, and the engine gives up as well.
    ended: WeakShared<BoxFuture<'static, Result<(), Error>>>,
    told: watch::Receiver<Option<Progress>>,
}

impl fmt::Debug for Pulls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(under_way.keys()).finish()
    }
}

impl Pulls {
    /// The pull of an image that is under way, or a new one.
    fn of(&self, engine: &DockerEngine, image: &str) -> (Ended, watch::Receiver<Option<Progress>>) {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living = |pull: &UnderWay| pull.ended.upgrade().filter(|ended| ended.peek().is_none());
        under_way.retain(|_, pull| living(pull).is_some());
        if let Some(pull) = under_way.get(image)
            && let Some(ended) = living(pull)
        {
            return (ended, pull.told.clone());
        }
        let (tell, told) = watch::channel(None);
        let (engine, name) = (engine.clone(), image.to_owned());
        let pulling = async move { ask(&engine, &name, SILENCE, &tell).await };
        let ended = pulling.boxed().shared();
        if let Some(weak) = ended.downgrade() {
            let told = told.clone();
            under_way.insert(image.to_owned(), UnderWay { ended: weak, told });
        }
        (ended, told)
    }
}

pub(super) async fn pull(
    engine: &DockerEngine,
    image: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    let (mut ended, mut told) = engine.pulls.of(engine, image);
    loop {
        let so_far = *told.borrow_and_update();
        if let Some(so_far) = so_far {
            progress(so_far);
        }
        tokio::select! {
            biased;
            ended = &mut ended => return ended,
            changed = told.changed() => if changed.is_err() {
                return ended.await;
            },
        }
    }
}

/// Asks the engine to pull, and follows what it tells.
async fn ask(
    engine: &DockerEngine,
    image: &str,
    silence: Duration,
    tell: &watch::Sender<Option<Progress>>,
) -> Result<(), Error> {
    let call = Call::within(format!("pull image {image}"), silence);
    let options = CreateImageOptions {
        from_image: Some(with_tag(image)),
        ..CreateImageOptions::default()
    };
    let client = engine.client(&call).await?;
    let mut messages = client.create_image(Some(options), None, None);
    let mut layers = Layers::default();
    loop {
        match tokio::time::timeout(call.deadline, messages.next()).await {
            Err(_) => return Err(silent(engine, image, &call).await),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => {
                return Err(failure::pull(call.failed(&engine.address, &error)));
            }
            Ok(Some(Ok(message))) => {
                if let Some(so_far) = layers.take(&message) {
                    tell.send_replace(Some(so_far));
                }
            }
        }
    }
}

/// Why nothing came: an engine that answers waits for the registry, and nothing is unknown about it.
async fn silent(engine: &DockerEngine, image: &str, call: &Call) -> Error {
    let ping = Call::within("ping", PING);
    match engine
        .ask(ping, |client| async move { client.ping().await })
        .await
    {
        Err(_) => call.late(),
        Ok(_) => Error::Pull {
            message: format!(
                "nothing came for {} s while image {image} was being pulled; its registry hangs or is out of reach",
                call.deadline.as_secs()
            ),
            transient: true,
        },
    }
}

/// Without a tag the engine would pull every tag there is.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// How far each layer is, by its short id.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, Progress>);

impl Layers {
    /// The sum over all layers, when the message changes it.
    fn take(&mut self, message: &CreateImageInfo) -> Option<Progress> {
        let id = message.id.as_deref()?;
        match message.status.as_deref()? {
            "Downloading" => {
                let detail = message.progress_detail.as_ref()?;
                let bytes = |count: Option<i64>| {
                    count
                        .and_then(|count| u64::try_from(count).ok())
                        .unwrap_or_default()
                };
                let current = bytes(detail.current);
                let layer = Progress {
                    current,
                    total: bytes(detail.total).max(current),
                };
                self.0.insert(id.to_owned(), layer);
            }
            "Download complete" | "Pull complete" => {
                let layer = self.0.get_mut(id)?;
                layer.current = layer.total;
            }
            _ => return None,
        }
        Some(self.0.values().fold(
            Progress {
                current: 0,
                total: 0,
            },
            |sum, layer| Progress {
                current: sum.current + layer.current,
                total: sum.total + layer.total,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;
    use crate::docker::stub::{Reply, Stub, lively};

    fn message(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: bytes.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn progress_is_the_sum_of_all_layers_bytes() {
        let mut layers = Layers::default();
        assert_eq!(layers.take(&message("a", "Pulling fs layer", None)), None);
        assert_eq!(
            layers.take(&message("a", "Downloading", Some((10, 100)))),
            Some(Progress {
                current: 10,
                total: 100
            })
        );
        assert_eq!(
            layers.take(&message("b", "Downloading", Some((5, 50)))),
            Some(Progress {
                current: 15,
                total: 150
            })
        );
        assert_eq!(
            layers.take(&message("a", "Download complete", None)),
            Some(Progress {
                current: 105,
                total: 150
            })
        );
        assert_eq!(
            layers.take(&message("a", "Extracting", Some((1, 100)))),
            None
        );
        assert_eq!(
            layers.take(&message("b", "Pull complete", None)),
            Some(Progress {
                current: 150,
                total: 150
            })
        );
    }

    #[tokio::test]
    async fn a_registry_that_hangs_fails_the_pull_and_leaves_nothing_unknown() {
        let stub = Stub::start(|request| match request {
            "POST /images/create" => Reply::Stream {
                start: String::new(),
                ends: false,
            },
            other => lively(other),
        });
        let (tell, _told) = watch::channel(None);
        let hung = ask(&stub.engine(), "web:1", Duration::from_millis(20), &tell).await;
        insta::assert_snapshot!(
            hung.unwrap_err(),
            @"nothing came for 0 s while image web:1 was being pulled; its registry hangs or is out of reach"
        );
    }

    #[test]
    fn an_image_without_a_tag_is_the_latest_and_not_all_of_them() {
        assert_eq!(with_tag("web"), "web:latest");
        assert_eq!(
            with_tag("registry.example:5000/web"),
            "registry.example:5000/web:latest"
        );
        assert_eq!(
            with_tag("registry.example:5000/web:2"),
            "registry.example:5000/web:2"
        );
        assert_eq!(with_tag("web@sha256:00"), "web@sha256:00");
    }
}
