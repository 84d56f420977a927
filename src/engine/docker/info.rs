//! What the engine says about itself and its host.

use clos_resources::host::{Capacity, EngineInfo};
use clos_resources::quantity::Quantity;

use super::DockerEngine;
use super::failure::Call;
use crate::engine::Info;
use crate::error::Error;

impl DockerEngine {
    pub(super) async fn what_it_is(&self) -> Result<Info, Error> {
        let (version, _) = self.negotiate(&Call::new("version")).await?;
        let info = self
            .ask(
                Call::new("info"),
                |client| async move { client.info().await },
            )
            .await?;
        Ok(Info {
            engine: EngineInfo {
                name: version.platform.map_or_else(
                    || "Docker".to_owned(),
                    |platform| engine_name(&platform.name),
                ),
                version: version.version.unwrap_or_default(),
                api_version: version.api_version.unwrap_or_default(),
                architecture: version.arch.unwrap_or_default(),
                operating_system: version.os.unwrap_or_default(),
            },
            capacity: Capacity {
                cpu: Quantity::from(number(info.ncpu)),
                memory: Quantity::of_bytes(number(info.mem_total)),
            },
            hostname: info.name.unwrap_or_default(),
        })
    }
}

fn number(told: Option<i64>) -> u64 {
    told.and_then(|number| u64::try_from(number).ok())
        .unwrap_or_default()
}

/// `Docker Engine - Community` is Docker, as are the distributions' builds, which leave the name out.
fn engine_name(platform: &str) -> String {
    if platform.is_empty() || platform.starts_with("Docker") {
        "Docker".to_owned()
    } else {
        platform.to_owned()
    }
}
