//! What identifies an installation beyond its data directory: its id and its Host's name, which both come from its store, and the one process
//! of a machine that may run it. A copy of a store, as a backup makes one, is the same installation.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use clos_controllers::host_name;
use clos_resources::Host;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};

/// This installation is run by another process, from another data directory.
#[derive(Debug, thiserror::Error)]
#[error(
    "the installation in this data directory is run by {} already, from a copy of the same store, and two would fight over its containers; stop that process, or start this one on another machine", by(*pid)
)]
pub struct RunsAlready {
    /// The other process, as far as can be seen.
    pub pid: Option<i32>,
}

fn by(pid: Option<i32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// What makes containers this installation's: the UID of the namespace `kube-system`, as other Kubernetes tools identify a cluster.
pub(crate) async fn id(client: Client) -> Result<String, kube::Error> {
    let namespace = Api::<Namespace>::all(client).get("kube-system").await?;
    Ok(namespace.uid().unwrap_or_default())
}

/// The name of this machine's Host. A standalone installation has one Host and keeps it when the machine is renamed, and when a backup is
/// restored on another one: its Instances and Ports name it.
pub(crate) async fn host(client: Client, hostname: &str) -> Result<String, kube::Error> {
    let hosts: Api<PartialObjectMeta<Host>> = Api::all(client);
    let found = hosts.list(&ListParams::default()).await?.items;
    Ok(match found.as_slice() {
        [only] => only.name_any(),
        _ => host_name(hostname),
    })
}

/// Held by the one process of this machine that runs an installation. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Alone {
    _name: Option<UnixListener>,
}

impl Alone {
    /// Takes the installation for this process.
    pub(crate) fn with(installation: &str) -> Result<Self, RunsAlready> {
        let name = SocketAddr::from_abstract_name(format!("clos/{installation}"));
        let bound = name
            .as_ref()
            .map_err(io::Error::kind)
            .and_then(|name| UnixListener::bind_addr(name).map_err(|error| error.kind()));
        match (bound, name) {
            (Ok(listener), _) => Ok(Self {
                _name: Some(listener),
            }),
            (Err(io::ErrorKind::AddrInUse), Ok(name)) => Err(RunsAlready {
                pid: holder(&name).ok().flatten(),
            }),
            (Err(reason), _) => {
                tracing::warn!(%reason, "cannot make sure that no other process runs this installation");
                Ok(Self { _name: None })
            }
        }
    }
}

/// Who listens, as the kernel says it.
fn holder(name: &SocketAddr) -> io::Result<Option<i32>> {
    let stream = UnixStream::connect_addr(name)?;
    stream.set_nonblocking(true)?;
    Ok(tokio::net::UnixStream::from_std(stream)?.peer_cred()?.pid())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
    use clos_audit::{Journal, Redactor};
    use clos_auth::Identity;
    use clos_resources::host::HostSpec;
    use clos_store::Store;
    use clos_telemetry::Metrics;
    use jiff::Timestamp;
    use kube::api::PostParams;

    use super::*;

    fn clock() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    /// A client of a server in memory, as one of its parts.
    pub(crate) async fn client() -> Client {
        let store = Store::in_memory();
        let config = ApiServerConfig {
            journal: Journal::new(store.clone(), Redactor::default(), clock),
            store,
            crds: clos_resources::crds(),
            clock,
            readiness: Arc::new(|| Ok(())),
            metrics: Metrics::new(),
            retention: Retention::default(),
        };
        let api = ApiServer::new(config).await.unwrap();
        api.client(Identity::component("app"))
    }

    async fn make_host(client: &Client, name: &str) {
        let hosts: Api<Host> = Api::all(client.clone());
        let host = Host::new(name, HostSpec::default());
        hosts.create(&PostParams::default(), &host).await.unwrap();
    }

    #[tokio::test]
    async fn a_host_keeps_its_name_when_the_machine_is_another_one() {
        let client = client().await;
        assert_eq!(host(client.clone(), "Box.example").await.unwrap(), "box");
        make_host(&client, "box").await;
        assert_eq!(host(client.clone(), "new-machine").await.unwrap(), "box");
        make_host(&client, "second").await;
        assert_eq!(host(client, "new-machine").await.unwrap(), "new-machine");
    }

    #[tokio::test]
    async fn an_installation_is_run_by_one_process_until_that_lets_go() {
        let installation = id(client().await).await.unwrap();
        let first = Alone::with(&installation).unwrap();
        let refused = Alone::with(&installation).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "the installation in this data directory is run by process {} already, from a copy of the same store, and two would fight over its containers; stop that process, or start this one on another machine",
                std::process::id()
            )
        );
        let other = id(client().await).await.unwrap();
        Alone::with(&other).unwrap();
        drop(first);
        Alone::with(&installation).unwrap();
    }
}
