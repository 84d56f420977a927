//! What can go wrong with the engine, sorted by what to do about it.

use std::time::Duration;

/// Why a call to the engine failed. The texts are the engine's and registry's own words where there are any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The engine cannot be reached: its state is unknown.
    #[error("cannot reach a container engine at {address}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The engine did not answer in time: whether the call took effect is unknown.
    #[error("the container engine did not answer within {} s to: {call}", after.as_secs())]
    Deadline {
        /// What was asked.
        call: String,
        /// The deadline.
        after: Duration,
    },
    /// The answer was cut off: whether the call took effect is unknown.
    #[error("the container engine's answer to {call:?} broke off: {reason}")]
    Interrupted {
        /// What was asked.
        call: String,
        /// What the system says.
        reason: String,
    },
    /// The engine is older than clos needs.
    #[error(
        "the container engine speaks API {found}, clos needs {needed} or newer; upgrade the engine"
    )]
    TooOld {
        /// What it speaks.
        found: String,
        /// What is needed.
        needed: String,
    },
    /// The engine no longer speaks what this clos knows.
    #[error(
        "the container engine speaks no API older than {found}, this clos knows none newer than {known}; upgrade clos"
    )]
    TooNew {
        /// The oldest that it speaks.
        found: String,
        /// The newest that clos knows.
        known: String,
    },
    /// What the call is about does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A container with the wanted name exists.
    #[error("{0}")]
    NameTaken(String),
    /// A host port is taken.
    #[error("{message}")]
    PortTaken {
        /// The engine's words.
        message: String,
        /// The port of the host, if the engine says which.
        port: Option<u16>,
    },
    /// There are no addresses for another network: it may succeed when another one is gone. The engine's words for it say nothing about
    /// what to do.
    #[error(
        "the container engine has no addresses left for another network (by default it has some for about 30, and each Group needs one); remove networks that are not used, or add default-address-pools with smaller subnets to its daemon.json"
    )]
    NoAddresses,
    /// The image cannot be pulled, for good or for now.
    #[error("{message}")]
    Pull {
        /// The registry's words.
        message: String,
        /// Whether trying again without a change may help.
        transient: bool,
    },
    /// The engine refuses what it was asked: it will refuse again.
    #[error("{0}")]
    Refused(String),
    /// The engine failed at it: it may succeed later.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Whether the engine's state is unknown after this error: nothing may be created or removed before it was asked again.
    pub fn leaves_unknown(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Deadline { .. } | Self::Interrupted { .. } => true,
            Self::TooOld { .. }
            | Self::TooNew { .. }
            | Self::NotFound(_)
            | Self::NameTaken(_)
            | Self::PortTaken { .. }
            | Self::NoAddresses
            | Self::Pull { .. }
            | Self::Refused(_)
            | Self::Failed(_) => false,
        }
    }
}
