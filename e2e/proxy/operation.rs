//! What a request asks of the engine, by its method and path. What becomes of it is not here.

use http::Method;

macro_rules! operations {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What a request asks of the engine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Operation {
            $($(#[doc = $doc])* $name,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];
        }
    };
}

operations! {
    /// `GET /_ping`
    Ping,
    /// `GET /version`
    Version,
    /// `GET /info`
    Info,
    /// `GET /events`
    Events,
    /// `GET /containers/json`
    ListContainers,
    /// `GET /containers/ID/json`
    InspectContainer,
    /// `GET /containers/ID/logs`
    Logs,
    /// `POST /containers/create`
    CreateContainer,
    /// `POST /containers/ID/start`
    StartContainer,
    /// `POST /containers/ID/stop`
    StopContainer,
    /// `POST /containers/ID/unpause`
    UnpauseContainer,
    /// `DELETE /containers/ID`
    RemoveContainer,
    /// `GET /images/NAME/json`
    InspectImage,
    /// `POST /images/create`
    Pull,
    /// `GET /networks`
    ListNetworks,
    /// `POST /networks/create`
    CreateNetwork,
    /// `DELETE /networks/ID`
    RemoveNetwork,
    /// `GET /volumes/NAME`
    InspectVolume,
    /// `POST /volumes/create`
    CreateVolume,
    /// `DELETE /volumes/NAME`
    RemoveVolume,
    /// Another one that asks.
    OtherRead,
    /// Another one that changes something.
    OtherChange,
}

impl Operation {
    /// What this request is. The API's version before the path does not count.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts.first().is_some_and(|part| is_version(part)) {
            parts.remove(0);
        }
        let last = parts.last().copied().unwrap_or_default();
        let first = parts.first().copied().unwrap_or_default();
        // Names of images have slashes.
        match (method.as_str(), first, parts.len(), last) {
            ("GET" | "HEAD", "_ping", 1, _) => Self::Ping,
            ("GET", "version", 1, _) => Self::Version,
            ("GET", "info", 1, _) => Self::Info,
            ("GET", "events", 1, _) => Self::Events,
            ("GET", "containers", 2, "json") => Self::ListContainers,
            ("GET", "containers", 3, "json") => Self::InspectContainer,
            ("GET", "containers", 3, "logs") => Self::Logs,
            ("POST", "containers", 2, "create") => Self::CreateContainer,
            ("POST", "containers", 3, "start") => Self::StartContainer,
            ("POST", "containers", 3, "stop") => Self::StopContainer,
            ("POST", "containers", 3, "unpause") => Self::UnpauseContainer,
            ("DELETE", "containers", 2, _) => Self::RemoveContainer,
            ("GET", "images", 3.., "json") => Self::InspectImage,
            ("POST", "images", 2, "create") => Self::Pull,
            ("GET", "networks", 1, _) => Self::ListNetworks,
            ("POST", "networks", 2, "create") => Self::CreateNetwork,
            ("DELETE", "networks", 2, _) => Self::RemoveNetwork,
            ("GET", "volumes", 2, _) => Self::InspectVolume,
            ("POST", "volumes", 2, "create") => Self::CreateVolume,
            ("DELETE", "volumes", 2, _) => Self::RemoveVolume,
            ("GET" | "HEAD", ..) => Self::OtherRead,
            _ => Self::OtherChange,
        }
    }

    /// Whether it changes something.
    pub fn changes(self) -> bool {
        match self {
            Self::CreateContainer
            | Self::StartContainer
            | Self::StopContainer
            | Self::UnpauseContainer
            | Self::RemoveContainer
            | Self::Pull
            | Self::CreateNetwork
            | Self::RemoveNetwork
            | Self::CreateVolume
            | Self::RemoveVolume
            | Self::OtherChange => true,
            Self::Ping
            | Self::Version
            | Self::Info
            | Self::Events
            | Self::ListContainers
            | Self::InspectContainer
            | Self::Logs
            | Self::InspectImage
            | Self::ListNetworks
            | Self::InspectVolume
            | Self::OtherRead => false,
        }
    }
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|number| {
        number.starts_with(|first: char| first.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}
