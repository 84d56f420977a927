//! Removing a volume because a person asked for it. No plan can: there is no action for it.

use bollard::query_parameters::RemoveVolumeOptions;
use clos_resources::names::LABEL_INSTALLATION;

use super::failure::Call;
use super::{DockerEngine, found};
use crate::error::Error;

/// What became of a volume that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeRemoval {
    /// It is gone, with everything in it.
    Removed,
    /// There was none.
    Absent,
    /// It stays: this installation did not make it.
    Foreign,
}

impl DockerEngine {
    /// Removes the volume of this name if it carries the label of this installation. One that a container still uses is refused by the
    /// engine, in its words.
    pub async fn remove_volume(
        &self,
        name: &str,
        installation: &str,
    ) -> Result<VolumeRemoval, Error> {
        let Some(volume) = self.volume(name).await? else {
            return Ok(VolumeRemoval::Absent);
        };
        if volume
            .labels
            .get(LABEL_INSTALLATION)
            .is_none_or(|label| label != installation)
        {
            return Ok(VolumeRemoval::Foreign);
        }
        let call = Call::new(format!("remove volume {name}"));
        let removed = self
            .ask(call, |client| async move {
                client
                    .remove_volume(name, None::<RemoveVolumeOptions>)
                    .await
            })
            .await;
        Ok(if found(removed)?.is_some() {
            VolumeRemoval::Removed
        } else {
            VolumeRemoval::Absent
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::stub::{Reply, Stub};
    use super::*;

    /// An engine with one volume of these labels, and what it was asked to remove.
    fn with_volume(labels: &'static str) -> (Stub, Arc<Mutex<Vec<String>>>) {
        let removed = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&removed);
        let stub = Stub::start(move |request| {
            if request.starts_with("GET") && request.ends_with("/volumes/clos_default_db") {
                let volume = format!(
                    r#"{{"Name":"clos_default_db","Driver":"local","Mountpoint":"/x","Scope":"local","Options":null,"Labels":{labels}}}"#
                );
                return Reply::Body(200, volume);
            }
            if request.starts_with("DELETE") {
                asked.lock().unwrap().push(request.to_owned());
                return Reply::Body(204, String::new());
            }
            Reply::Body(404, r#"{"message":"no such volume"}"#.to_owned())
        });
        (stub, removed)
    }

    #[tokio::test]
    async fn i11_a_volume_goes_only_when_this_installation_made_it() {
        for (labels, outcome) in [
            (
                r#"{"clos.dev/installation":"ours"}"#,
                VolumeRemoval::Removed,
            ),
            (
                r#"{"clos.dev/installation":"another"}"#,
                VolumeRemoval::Foreign,
            ),
            ("{}", VolumeRemoval::Foreign),
            ("null", VolumeRemoval::Foreign),
        ] {
            let (stub, removed) = with_volume(labels);
            assert_eq!(
                stub.engine().remove_volume("clos_default_db", "ours").await,
                Ok(outcome),
                "{labels}"
            );
            assert_eq!(
                removed.lock().unwrap().len(),
                usize::from(outcome == VolumeRemoval::Removed),
                "{labels}"
            );
        }
    }

    #[tokio::test]
    async fn a_volume_that_is_not_there_is_absent() {
        let (stub, removed) = with_volume("{}");
        assert_eq!(
            stub.engine()
                .remove_volume("clos_default_other", "ours")
                .await,
            Ok(VolumeRemoval::Absent)
        );
        assert!(removed.lock().unwrap().is_empty());
    }
}
