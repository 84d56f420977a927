//! Pulling an image from the registry, and what the engine shows of one.

use std::hash::{DefaultHasher, Hash, Hasher};

use clos_plan::observed::Image;

use super::World;
use crate::error::Error;
use crate::events::EngineEvent;
use crate::fake::program::{FakeImage, Pull};

impl World {
    pub(in crate::fake) fn pull(&mut self, name: &str) -> Result<(), Error> {
        match self.registry.get(name) {
            Some(Pull::Has(image)) => {
                self.images.insert(name.to_owned(), image.clone());
                self.outbox.push(EngineEvent::Image {
                    name: Some(name.to_owned()),
                });
                Ok(())
            }
            Some(Pull::Refuses { message, transient }) => Err(Error::Pull {
                message: message.clone(),
                transient: *transient,
            }),
            None => Err(Error::Pull {
                message: format!("manifest for {name} not found: manifest unknown"),
                transient: false,
            }),
        }
    }
}

pub(super) fn image(image: &FakeImage) -> Image {
    Image {
        id: image_id(image),
        architecture: image.architecture.clone(),
        operating_system: "linux".to_owned(),
        has_health_check: image.health_check,
    }
}

/// Another id for another image, and the same one always.
pub(super) fn image_id(image: &FakeImage) -> String {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    format!("sha256:{:064x}", hasher.finish())
}
