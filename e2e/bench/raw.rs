//! The floor: the same containers that clos makes, made with nothing but the engine's API.

use anyhow::Context as _;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, NetworkCreateRequest,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::CreateContainerOptions;

use crate::engine::{COMMAND, Engine, IMAGE, LABEL_RUN, LABEL_SIDE, Side};

impl Engine {
    /// Makes the network of the floor's containers.
    pub(crate) async fn create_network(&self) -> anyhow::Result<()> {
        let request = NetworkCreateRequest {
            name: self.network(),
            driver: Some("bridge".to_owned()),
            labels: Some(std::iter::once((LABEL_RUN.to_owned(), self.run().to_owned())).collect()),
            ..NetworkCreateRequest::default()
        };
        self.docker()
            .create_network(request)
            .await
            .context("cannot create a network")?;
        Ok(())
    }

    /// Makes and starts one of the floor's containers; gives its id.
    pub(crate) async fn run_container(&self, name: &str) -> anyhow::Result<String> {
        let options = CreateContainerOptions {
            name: Some(self.name(name)),
            ..CreateContainerOptions::default()
        };
        let created = self
            .docker()
            .create_container(Some(options), self.body(name))
            .await;
        let id = created
            .with_context(|| format!("cannot create container {name}"))?
            .id;
        self.start(&id).await?;
        Ok(id)
    }

    /// With the options that clos gives a container which declares no others, so that both sides ask for the same.
    fn body(&self, name: &str) -> ContainerCreateBody {
        let labels = [
            (LABEL_RUN.to_owned(), self.run().to_owned()),
            (LABEL_SIDE.to_owned(), Side::Raw.as_str().to_owned()),
        ];
        let endpoint = EndpointSettings {
            aliases: Some(vec![name.to_owned()]),
            ..EndpointSettings::default()
        };
        let logs = [("max-size", "10m"), ("max-file", "3")];
        ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            entrypoint: Some(COMMAND.map(str::to_owned).to_vec()),
            labels: Some(labels.into_iter().collect()),
            stop_timeout: Some(10),
            host_config: Some(HostConfig {
                pids_limit: Some(4096),
                network_mode: Some(self.network()),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::NO),
                    maximum_retry_count: None,
                }),
                security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
                log_config: Some(HostConfigLogConfig {
                    typ: Some("json-file".to_owned()),
                    config: Some(
                        logs.map(|(key, value)| (key.to_owned(), value.to_owned()))
                            .into_iter()
                            .collect(),
                    ),
                }),
                ..HostConfig::default()
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(std::iter::once((self.network(), endpoint)).collect()),
            }),
            ..ContainerCreateBody::default()
        }
    }
}
