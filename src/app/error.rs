//! Why a server did not start, or ended though nobody asked it to: each a sentence with what to do.

use std::path::PathBuf;

use clos_apiserver::StartError;
use clos_store::{Failure, OpenError};

use crate::credentials::CredentialsError;
use crate::installation::RunsAlready;
use crate::listen::ListenError;

/// Why a server did not start, or ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nobody answers at the engine's address. The error is no `source`, because its text is the sentence's beginning.
    #[error("{0}. Start Docker, or set --engine or DOCKER_HOST")]
    NoEngine(clos_engine::Error),
    /// The engine answers and cannot be used.
    #[error(transparent)]
    Engine(clos_engine::Error),
    /// The port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A folder of YAML does not exist or is none.
    #[error("{} is not a folder that can be read; give --dir a folder of YAML", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The data directory.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Certificates and the kubeconfig.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Another process runs a copy of the same store.
    #[error(transparent)]
    Installation(#[from] RunsAlready),
    /// The API.
    #[error("the API could not be set up")]
    Api(#[source] StartError),
    /// The API was set up and does not answer.
    #[error("the API does not answer")]
    OwnClient(#[source] kube::Error),
    /// A part ended.
    #[error("{part} ended without being asked to")]
    Ended {
        /// Which.
        part: &'static str,
        /// Why, when it said so.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A part panicked.
    #[error("a part of the server panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// The store failed while the server ran.
#[derive(Debug, thiserror::Error)]
#[error("{} takes no more writes; check the disk", path.display())]
pub(crate) struct StoreLost {
    /// The database file.
    pub(crate) path: PathBuf,
    /// What failed.
    #[source]
    pub(crate) source: Failure,
}
