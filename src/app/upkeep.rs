//! What a long-running server does once in a while: renew certificates, forget old audit records. Neither writes when there is nothing to
//! do.

use std::sync::Arc;
use std::time::Duration;

use clos_audit::{Journal, Retention};
use clos_telemetry::Chain;
use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::credentials::Credentials;

/// How often certificates are looked at.
const RENEWAL: Duration = Duration::from_hours(24);
/// How often the audit journal is looked at.
const FORGETTING: Duration = Duration::from_hours(1);
/// How long audit records are kept at most.
const AUDIT_AGE: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Keeps the server's certificate and the admin kubeconfig from expiring, until `stop`.
pub(crate) async fn renew(
    credentials: Credentials,
    tls: watch::Sender<Arc<ServerConfig>>,
    clock: fn() -> Timestamp,
    stop: CancellationToken,
) {
    while stop
        .run_until_cancelled(tokio::time::sleep(RENEWAL))
        .await
        .is_some()
    {
        match credentials.tls(clock()) {
            Ok(config) => {
                tls.send_replace(config);
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the server's certificate could not be renewed");
            }
        }
        if let Err(error) = credentials.keep_kubeconfig(clock()) {
            tracing::error!(error = %Chain(&error), "the admin kubeconfig could not be renewed");
        }
    }
}

/// Removes the oldest audit records beyond the bounds, until `stop`.
pub(crate) async fn forget(
    journal: Journal,
    max_records: u64,
    clock: fn() -> Timestamp,
    stop: CancellationToken,
) {
    let retention = Retention {
        max_records,
        max_age: AUDIT_AGE,
    };
    loop {
        if let Err(error) = journal.retain(retention, clock()).await {
            tracing::warn!(error = %Chain(&error), "old audit records could not be removed");
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(FORGETTING))
            .await
            .is_none()
        {
            return;
        }
    }
}
