//! What the engine shows: an instance's things together, and every container of ours in short.

use clos_plan::observed::{ContainerState, Health, Observed};
use clos_resources::names;

use super::World;
use super::images::image;
use crate::engine::{Listed, Scope};

impl World {
    pub(in crate::fake) fn observe(&self, scope: &Scope) -> Observed {
        Observed {
            containers: self
                .containers
                .values()
                .map(|container| &container.shown)
                .filter(|shown| {
                    shown.name == scope.container_name
                        || shown.labels.get(names::LABEL_INSTANCE_UID) == Some(&scope.instance_uid)
                })
                .map(|shown| (shown.id.clone(), shown.clone()))
                .collect(),
            networks: self
                .networks
                .iter()
                .filter(|network| network.name == scope.network_name)
                .cloned()
                .collect(),
            volumes: scope
                .volumes
                .iter()
                .filter_map(|name| self.volumes.get_key_value(name))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            image: scope
                .image
                .as_ref()
                .and_then(|name| self.images.get(name))
                .map(image),
            ..Observed::default()
        }
    }

    pub(in crate::fake) fn list(&self) -> Vec<Listed> {
        let ours = self.containers.values().filter(|container| {
            container
                .shown
                .labels
                .contains_key(names::LABEL_INSTALLATION)
        });
        ours.map(|container| {
            let label = |name: &str| {
                container
                    .shown
                    .labels
                    .get(name)
                    .cloned()
                    .unwrap_or_default()
            };
            let networks: Vec<&str> = container
                .shown
                .live
                .networks
                .keys()
                .map(String::as_str)
                .collect();
            Listed {
                instance_uid: label(names::LABEL_INSTANCE_UID),
                namespace: label(names::LABEL_NAMESPACE),
                instance: label(names::LABEL_INSTANCE),
                installation: label(names::LABEL_INSTALLATION),
                id: container.shown.id.clone(),
                fingerprint: format!(
                    "{} {} {} {}",
                    container.shown.name,
                    state_word(&container.shown.state),
                    container.shown.image_id,
                    networks.join(",")
                ),
            }
        })
        .collect()
    }
}

fn state_word(state: &ContainerState) -> String {
    match state {
        ContainerState::Created => "created".to_owned(),
        ContainerState::Running {
            health: Health::None,
            ..
        } => "running".to_owned(),
        ContainerState::Running { health, .. } => format!("running ({health:?})"),
        ContainerState::Paused { .. } => "paused".to_owned(),
        ContainerState::Restarting => "restarting".to_owned(),
        ContainerState::Exited { code, .. } => format!("exited ({code})"),
        ContainerState::Removing => "removing".to_owned(),
        ContainerState::Dead => "dead".to_owned(),
    }
}
