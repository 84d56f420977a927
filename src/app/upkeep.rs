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
const RENEWAL: SignedDuration = SignedDuration::from_hours(24);
/// How often the clock is asked whether that is due: no timer tells of a clock that was set, or of a machine that slept.
const CLOCK_LOOK: Duration = Duration::from_secs(15);
/// So long before the authority ends that is said, at each look.
const END_IS_NEAR: SignedDuration = SignedDuration::from_hours(180 * 24);
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
    let mut looked = clock();
    warn_of_end(&credentials, looked);
    while stop
        .run_until_cancelled(tokio::time::sleep(CLOCK_LOOK))
        .await
        .is_some()
    {
        let now = clock();
        if now.duration_since(looked).abs() < RENEWAL {
            continue;
        }
        looked = now;
        warn_of_end(&credentials, now);
        match credentials.tls(now) {
            Ok(config) => {
                tls.send_replace(config);
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the server's certificate could not be renewed");
            }
        }
        if let Err(error) = credentials.keep_kubeconfig(now) {
            tracing::error!(error = %Chain(&error), "the admin kubeconfig could not be renewed");
        }
    }
}

fn warn_of_end(credentials: &Credentials, now: Timestamp) {
    let end = credentials.end_of_authority();
    if end < now + END_IS_NEAR {
        tracing::warn!(%end, "the certificate authority ends soon; remove pki/ca.crt and pki/ca.key from the data directory and restart clos to make a new one, and hand out new kubeconfigs");
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::LazyLock;

    use clos_audit::{Event, Filter, ObjectRef, Order, Outcome, Redactor};
    use clos_auth::Identity;
    use clos_store::Store;
    use tokio::task::JoinSet;
    use tokio::time::Instant;

    use super::*;

    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

    /// Time as the test's runtime has it, from some day on.
    fn clock() -> Timestamp {
        let first: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        first + Instant::now().into_std().saturating_duration_since(*START)
    }

    #[tokio::test(start_paused = true)]
    async fn the_kubeconfig_and_the_certificate_are_renewed_before_they_expire_and_not_before() {
        LazyLock::force(&START);
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let listen = SocketAddr::from(([127, 0, 0, 1], 8081));
        let (credentials, _) =
            Credentials::open(folder.path(), &kubeconfig, listen, "box", clock()).unwrap();
        // 325 days ago: it is renewed 35 days before its end, and lasts for 365.
        let written = clock() - SignedDuration::from_hours(325 * 24);
        credentials.keep_kubeconfig(written).unwrap();
        let tls = watch::Sender::new(credentials.tls(clock()).unwrap());
        let mut renewed = tls.subscribe();
        let first = std::fs::read(&kubeconfig).unwrap();
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(renew(credentials, tls, clock, stop.clone()));
        let mut changed_on = None;
        for day in 326..=336 {
            renewed.changed().await.unwrap();
            // The certificate is handed out just before the kubeconfig is looked at.
            tokio::task::yield_now().await;
            if changed_on.is_none() && std::fs::read(&kubeconfig).unwrap() != first {
                changed_on = Some(day);
            }
        }
        let day = changed_on.expect("it is renewed within its year");
        assert!((330..=332).contains(&day), "on day {day}");
        stop.cancel();
        running.join_all().await;
    }

    #[tokio::test(start_paused = true)]
    async fn old_audit_records_beyond_the_bound_are_forgotten_and_i2_then_nothing_is_written() {
        LazyLock::force(&START);
        let store = Store::in_memory();
        let journal = Journal::new(store.clone(), Redactor::default(), clock);
        for number in 0..20 {
            let object = ObjectRef::new("", "v1", "ConfigMap").named(&format!("m{number}"));
            let event = Event::new(
                &Identity::component("test"),
                "create",
                object,
                Outcome::Allowed,
            );
            journal.record(event).await.unwrap();
        }
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(forget(journal.clone(), 5, clock, stop.clone()));
        let left = loop {
            tokio::time::sleep(Duration::from_mins(1)).await;
            let left = journal
                .query(Filter::default(), Order::Forwards, 100)
                .await
                .unwrap();
            if left.len() < 20 {
                break left;
            }
        };
        let numbers: Vec<u64> = left.iter().map(|entry| entry.seq).collect();
        assert_eq!(
            numbers,
            [17, 18, 19, 20, 21],
            "the last one tells of the others' end"
        );
        let commits = store.stats().commits;
        tokio::time::sleep(Duration::from_hours(5)).await;
        assert_eq!(store.stats().commits, commits);
        stop.cancel();
        running.join_all().await;
    }
}
