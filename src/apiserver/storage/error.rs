//! What the store's errors mean to a client. Which HTTP code that is, `status` decides.

use clos_store::{CommitError, ReadError, WatchError};

use crate::status::ApiError;

/// A read that failed.
pub(crate) fn read_error(error: ReadError) -> ApiError {
    match error {
        ReadError::Compacted { requested, oldest } => too_old(requested, oldest),
        ReadError::Future { requested, head } => {
            ApiError::too_large_resource_version(requested, head)
        }
        ReadError::Closed => ApiError::unavailable("the server is shutting down"),
        ReadError::Corrupt { .. } | ReadError::Unreadable(_) | ReadError::Failed(_) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a read of the store failed"
            );
            ApiError::internal(error)
        }
    }
}

/// A write that failed for another reason than its expectation.
pub(crate) fn commit_error(error: CommitError) -> ApiError {
    match error {
        CommitError::TooLarge { size, limit, .. } => ApiError::too_large(&format!(
            "the object has {size} bytes, at most {limit} are stored"
        )),
        CommitError::NoSpace => ApiError::unavailable(
            "there is no space left on the disk of the data directory; free some, reads still work",
        ),
        CommitError::ReadOnly => ApiError::unavailable(
            "the data directory is read-only; make it writable, reads still work",
        ),
        CommitError::Exists { .. }
        | CommitError::NotFound { .. }
        | CommitError::Conflict { .. } => {
            ApiError::internal("the object changed while it was written")
        }
        CommitError::Corrupt { .. } => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a write to the store failed"
            );
            ApiError::internal(error)
        }
        CommitError::Failed(_) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a write to the store failed"
            );
            ApiError::unavailable(
                "the store takes no more writes; the server must be started again",
            )
        }
    }
}

/// A watch that could not start or go on.
pub(crate) fn watch_error(error: WatchError) -> ApiError {
    match error {
        WatchError::Compacted { requested, oldest } => too_old(requested, oldest),
        WatchError::Read(source) => read_error(source),
    }
}

fn too_old(requested: u64, oldest: u64) -> ApiError {
    ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
}
