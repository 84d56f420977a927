//! What the engine says about itself and its host, and whether clos speaks its API.

use clos_resources::host::{Capacity, EngineInfo};

use super::DockerEngine;
use super::failure::Call;
use crate::engine::Info;
use crate::error::Error;

/// The oldest API that clos speaks: the one of Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);

impl DockerEngine {
    pub(super) async fn what_it_is(&self) -> Result<Info, Error> {
        let version = self
            .ask(Call::new("version"), |client| async move {
                client.version().await
            })
            .await?;
        let api_version = version.api_version.unwrap_or_default();
        if !speaks(&api_version) {
            let (major, minor) = OLDEST_API;
            return Err(Error::TooOld {
                found: api_version,
                needed: format!("{major}.{minor}"),
            });
        }
        let info = self
            .ask(
                Call::new("info"),
                |client| async move { client.info().await },
            )
            .await?;
        // Numbers are quantities.
        let quantity = |number: i64| {
            number
                .max(0)
                .to_string()
                .parse()
                .map_err(|error| Error::Failed(format!("{number}: {error}")))
        };
        Ok(Info {
            engine: EngineInfo {
                name: version.platform.map_or_else(
                    || "Docker".to_owned(),
                    |platform| engine_name(&platform.name),
                ),
                version: version.version.unwrap_or_default(),
                api_version,
                architecture: version.arch.unwrap_or_default(),
                operating_system: version.os.unwrap_or_default(),
            },
            capacity: Capacity {
                cpu: quantity(info.ncpu.unwrap_or_default())?,
                memory: quantity(info.mem_total.unwrap_or_default())?,
            },
            hostname: info.name.unwrap_or_default(),
        })
    }
}

/// `Docker Engine - Community` is Docker, as are the distributions' builds, which leave the name out.
fn engine_name(platform: &str) -> String {
    if platform.is_empty() || platform.starts_with("Docker") {
        "Docker".to_owned()
    } else {
        platform.to_owned()
    }
}

pub(super) fn speaks(api_version: &str) -> bool {
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    let mut parts = api_version.split('.');
    match (number(parts.next()), number(parts.next())) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST_API,
        _ => false,
    }
}
