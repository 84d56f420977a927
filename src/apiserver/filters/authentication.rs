//! Whether it is known who asks, and what nobody needs to be known for. Who it is was read from the peer's certificate
//! by the listener, or set by the process itself.

use clos_auth::Identity;
use http::Method;

use crate::caller::Caller;
use crate::status::ApiError;

/// The identity of the caller; `None` only where nobody needs one, 401 everywhere else.
pub(super) fn authenticate<'c>(
    caller: &'c Caller,
    method: &Method,
    path: &str,
) -> Result<Option<&'c Identity>, ApiError> {
    match &caller.identity {
        Some(identity) => Ok(Some(identity)),
        None if is_public(method, path) => Ok(None),
        None => Err(ApiError::unauthorized()),
    }
}

/// Whether anybody may ask.
pub(super) fn is_public(method: &Method, path: &str) -> bool {
    (method == Method::GET || method == Method::HEAD)
        && matches!(
            path,
            "/health" | "/healthz" | "/livez" | "/readyz" | "/version" | "/version/"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_health_and_version_are_public_and_only_for_reading() {
        for path in ["/health", "/healthz", "/livez", "/readyz", "/version"] {
            assert!(is_public(&Method::GET, path), "{path}");
            assert!(!is_public(&Method::POST, path), "{path}");
        }
        for path in [
            "/",
            "/metrics",
            "/api",
            "/apis",
            "/openapi/v3",
            "/healthz/etcd",
            "/versions",
            "/api/v1/secrets",
        ] {
            assert!(!is_public(&Method::GET, path), "{path}");
        }
    }
}
