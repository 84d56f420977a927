//! Pulling an image, told in bytes. Whether it is needed is planning.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;

use super::DockerEngine;
use super::failure::{self, Call};
use crate::engine::Progress;
use crate::error::Error;

/// A pull may take hours, but the engine tells at least once a second how far it is.
const SILENCE: Duration = Duration::from_mins(1);

pub(super) async fn pull(
    engine: &DockerEngine,
    image: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    let call = Call::within(format!("pull image {image}"), SILENCE);
    let options = CreateImageOptions {
        from_image: Some(with_tag(image)),
        ..CreateImageOptions::default()
    };
    let client = engine.client(&call)?;
    let mut messages = client.create_image(Some(options), None, None);
    let mut layers = Layers::default();
    loop {
        match tokio::time::timeout(call.deadline, messages.next()).await {
            Err(_) => return Err(call.late()),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => {
                return Err(failure::pull(call.failed(&engine.address, &error)));
            }
            Ok(Some(Ok(message))) => {
                if let Some(so_far) = layers.take(&message) {
                    progress(so_far);
                }
            }
        }
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
