//! A panic as an error. redb promises an error and no panic for the bytes it has verified; for those that change
//! behind it, it does not. Where that can happen, the panic ends here and not in the caller.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::TableError;

use crate::error::ReadError;

/// Does `work`; its panic is the error, as a text.
///
/// Whatever `work` changes must be of no more use after a panic, or not break by stopping anywhere: a
/// database refuses further work by itself.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".into())
    })
}

/// Opens a table while others are open. A panic in it would be the end of the process otherwise: redb closes those
/// while it unwinds, under a lock that the panic has broken, and panics again.
pub(crate) fn beside<T, U>(
    opened: T,
    open: impl FnOnce() -> Result<U, TableError>,
) -> Result<(T, U), ReadError> {
    match contained(open) {
        Ok(other) => Ok((opened, other?)),
        Err(panic) => {
            // The transaction cannot be committed without them, and that is the point.
            std::mem::forget(opened);
            Err(ReadError::Unreadable(Box::new(redb::Error::Corrupted(
                panic,
            ))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_answered_with_its_message_whatever_its_type() {
        assert_eq!(contained(|| 7), Ok(7));
        assert_eq!(contained(|| panic!("plain")), Err::<(), _>("plain".into()));
        let page = 3;
        assert_eq!(
            contained(|| panic!("page {page}")),
            Err::<(), _>("page 3".into())
        );
        let other = contained(|| std::panic::panic_any(5_u8));
        assert_eq!(other, Err::<(), _>("a panic without a message".into()));
    }
}
