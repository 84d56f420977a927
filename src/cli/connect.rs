//! Finding the running server and the engine, and saying in one sentence why they cannot be reached.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clos_app::config::{DEFAULT_ENGINE, Surroundings};
use clos_engine::docker::DockerEngine;
use clos_telemetry::Chain;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::args::Connection;

/// One environment variable. The command line is where the environment enters.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment enters"
)]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The time now. The command line is where time enters.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where time enters"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// What defaults depend on, read from this process.
pub(crate) fn surroundings() -> Surroundings {
    let path = |name| environment(name).map(PathBuf::from);
    let root = std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    Surroundings {
        root,
        home: path("HOME"),
        xdg_data_home: path("XDG_DATA_HOME"),
        xdg_config_home: path("XDG_CONFIG_HOME"),
    }
}

impl Connection {
    /// Where the kubeconfig lies.
    pub(crate) fn kubeconfig_path(&self) -> PathBuf {
        self.kubeconfig
            .clone()
            .unwrap_or_else(|| surroundings().config_dir().join("kubeconfig"))
    }

    /// A client of the running server.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let path = self.kubeconfig_path();
        if !path.exists() {
            bail!(
                "there is no kubeconfig at {}: start a server with `clos serve`, or give --kubeconfig",
                path.display()
            );
        }
        let kubeconfig = Kubeconfig::read_from(&path)
            .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
        let mut config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?;
        // Watches and log streams stay silent for as long as nothing happens.
        config.read_timeout = None;
        // No proxy leads to this machine itself, whatever the environment says of proxies.
        if is_loopback(&config.cluster_url) {
            config.proxy_url = None;
        }
        let server = config.cluster_url.clone();
        let client = Client::try_from(config)
            .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?;
        match client.apiserver_version().await {
            Ok(_) => Ok(client),
            Err(kube::Error::Api(status)) => {
                bail!("the server at {server} refuses: {}", status.message)
            }
            Err(error) => bail!(
                "cannot reach the server at {server}: {}. Is `clos serve` running?",
                Chain(&error)
            ),
        }
    }

    /// The engine's address.
    pub(crate) fn engine_address(&self) -> String {
        self.engine
            .clone()
            .or_else(|| environment("CLOS_ENGINE"))
            .or_else(|| environment("DOCKER_HOST"))
            .unwrap_or_else(|| DEFAULT_ENGINE.to_owned())
    }

    /// The engine, for looking only.
    pub(crate) fn engine(&self) -> anyhow::Result<DockerEngine> {
        Ok(DockerEngine::connect(&self.engine_address())?)
    }
}

/// Whether a server is on this machine's own loopback.
fn is_loopback(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised() {
        let loopback = |url: &str| is_loopback(&url.parse().unwrap());
        for own in [
            "https://127.0.0.1:8081",
            "https://[::1]:8081",
            "https://localhost",
        ] {
            assert!(loopback(own), "{own}");
        }
        for other in ["https://10.0.0.1:6443", "https://localhost.example.org"] {
            assert!(!loopback(other), "{other}");
        }
    }

    fn with_kubeconfig(path: PathBuf) -> Connection {
        Connection {
            kubeconfig: Some(path),
            engine: None,
        }
    }

    #[tokio::test]
    async fn without_a_kubeconfig_it_is_said_how_to_get_one() {
        let missing = with_kubeconfig(PathBuf::from("/no/such/kubeconfig"));
        let error = missing.client().await.err().unwrap().to_string();
        assert_eq!(
            error,
            "there is no kubeconfig at /no/such/kubeconfig: start a server with `clos serve`, or give --kubeconfig"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_with_the_reason() {
        // A port that was free a moment ago: nobody listens.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n"
        );
        std::fs::write(&path, kubeconfig).unwrap();
        let error = with_kubeconfig(path)
            .client()
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with(&format!("cannot reach the server at http://{address}/: ")),
            "{error}"
        );
        assert!(error.ends_with("Is `clos serve` running?"), "{error}");
    }

    #[test]
    fn the_engine_s_address_is_what_was_given() {
        let given = Connection {
            kubeconfig: None,
            engine: Some("unix:///x.sock".to_owned()),
        };
        assert_eq!(given.engine_address(), "unix:///x.sock");
    }
}
