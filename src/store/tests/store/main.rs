//! The store through its public API. Encodings, the lock file and recent events are tested where they are.
#![expect(clippy::unwrap_used, reason = "tests")]

mod backing_up;
mod child;
mod committing;
mod crashing;
mod damage;
mod disk;
mod faults;
mod full_disk;
mod histories;
mod journal;
mod killing;
mod linearizability;
mod model;
mod opening;
mod reading;
mod refusing;
mod restoring;
mod tmpfs;
mod watching;

use clos_store::{Expect, Put, Store};

/// A put that must succeed; answers its revision.
async fn put(store: &Store, key: &str, value: &str) -> u64 {
    store.put(Put::new(key, value)).await.unwrap().revision
}

/// A put with an expectation.
fn put_if(key: &str, value: &str, expect: Expect) -> Put {
    Put {
        expect,
        ..Put::new(key, value)
    }
}
