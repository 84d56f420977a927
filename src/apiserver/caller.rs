//! Who asks, as filters find it out and as everything behind them reads it.

use std::net::IpAddr;

use clos_auth::Identity;

/// Who asks, from where and with what.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who; none is anonymous.
    pub(crate) identity: Option<Identity>,
    /// From where; none is within the process.
    pub(crate) remote: Option<IpAddr>,
    /// The request's id.
    pub(crate) request_id: String,
    /// What the client calls itself.
    pub(crate) agent: Option<String>,
    /// On whose behalf the client says it writes.
    pub(crate) manager: Option<String>,
    /// Whether nothing shall be written.
    pub(crate) dry_run: bool,
}
