//! What happens to containers of ours, as the engine tells it. Events only wake: whoever gets one looks at the whole truth.

/// One message of the event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// The stream is connected (again): from here on events arrive, and what happened before may have been missed. List now.
    Connected,
    /// The stream broke or the engine stopped answering: the engine's state is unknown until the next `Connected`.
    Lost {
        /// Why, in a sentence for users.
        reason: String,
    },
    /// Events came faster than they were read, some were dropped. List now.
    Overflow,
    /// Something happened to a container that carries a label of ours.
    Container(ContainerEvent),
    /// A container without a label of ours left its network, was removed or got another name: what it held may be free.
    Freed {
        /// Its id.
        id: String,
    },
    /// An image came to the host, or a name was given to one.
    Image {
        /// The name, when the engine says it.
        name: Option<String>,
    },
}

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEvent {
    /// The installation, from the label.
    pub installation: String,
    /// The UID of the Instance, from the label.
    pub instance_uid: String,
    /// The namespace, from the label.
    pub namespace: String,
    /// The Instance's name, from the label.
    pub instance: String,
    /// The container's id.
    pub id: String,
    /// What happened.
    pub what: Happened,
    /// When, by the engine's clock.
    pub at: jiff::Timestamp,
}

/// What can happen to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was made.
    Created,
    /// It was started.
    Started,
    /// It ended.
    Died {
        /// The exit code.
        exit_code: i64,
    },
    /// A signal was sent to it.
    Killed {
        /// The signal's number or name, as the engine says it.
        signal: String,
    },
    /// It was asked to stop and did.
    Stopped,
    /// The kernel killed one of its processes for memory.
    OutOfMemory,
    /// Its own health check changed its mind.
    Health,
    /// It was frozen.
    Paused,
    /// It was thawed.
    Unpaused,
    /// Its limits, name or networks were changed.
    Changed,
    /// It was removed.
    Destroyed,
}
