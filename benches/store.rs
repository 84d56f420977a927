//! What the store of record does in a second, on the disk the build lies on: durable puts alone and together, a list of 10 000,
//! one change told to many watchers, and opening with everything verified.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use clos_store::{Options, Put, Range, Store, Watch};
use criterion::{Criterion, SamplingMode, Throughput};
use futures::StreamExt;
use futures::future::join_all;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The size of a service with its status.
const VALUE_BYTES: usize = 2048;
const WRITERS: usize = 64;
const LISTED: usize = 10_000;
const RECORDS: usize = 100_000;
/// The size of a journal record.
const RECORD_BYTES: usize = 700;

fn main() {
    let runtime = Runtime::new().unwrap();
    // Not in the system's folder for temporary files, which may lie in memory.
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    let mut benches = criterion.benchmark_group("store");
    benches
        .sample_size(20)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5));

    let store = open(&folder.path().join("puts"));
    for writers in [1, WRITERS] {
        benches.throughput(Throughput::Elements(writers as u64));
        benches.bench_function(format!("durable_put/{writers}_writers"), |b| {
            b.iter(|| runtime.block_on(put_all(&store, 0..writers)));
        });
    }

    let store = open(&folder.path().join("list"));
    runtime.block_on(fill(&store));
    benches.throughput(Throughput::Elements(LISTED as u64));
    benches.bench_function("list_10000", |b| {
        b.iter(|| {
            let page = store.range(&Range::prefix("/objects/")).unwrap();
            assert_eq!(page.entries.len(), LISTED);
            black_box(page)
        });
    });

    runtime.block_on(record(&store));
    drop(store);
    benches.throughput(Throughput::Elements((LISTED + RECORDS) as u64));
    benches.bench_function("open_10000_objects_100000_records", |b| {
        b.iter(|| open(&folder.path().join("list")));
    });

    for watchers in [100, 1000] {
        let store = open(&folder.path().join(format!("watch-{watchers}")));
        let mut watches: Vec<Watch> = (0..watchers)
            .map(|_| store.watch("/objects/", store.revision()).unwrap())
            .collect();
        benches.throughput(Throughput::Elements(watchers));
        benches.bench_function(format!("put_seen_by_{watchers}_watchers"), |b| {
            b.iter(|| runtime.block_on(put_and_see(&store, &mut watches)));
        });
    }
    benches.finish();
    criterion.final_summary();
}

fn open(folder: &Path) -> Store {
    Store::open(folder, Options::default()).unwrap()
}

/// Puts at the same time, one key each.
async fn put_all(store: &Store, keys: std::ops::Range<usize>) {
    let puts = keys.map(|key| store.put(Put::new(name(key), vec![b'x'; VALUE_BYTES])));
    for put in join_all(puts).await {
        put.unwrap();
    }
}

async fn fill(store: &Store) {
    for begin in (0..LISTED).step_by(200) {
        put_all(store, begin..begin + 200).await;
    }
}

async fn record(store: &Store) {
    for _ in (0..RECORDS).step_by(1000) {
        let records = (0..1000).map(|_| store.append(Box::new(|_| vec![b'x'; RECORD_BYTES])));
        for appended in join_all(records).await {
            appended.unwrap();
        }
    }
}

/// One put, and the same revision at the end of every watch.
async fn put_and_see(store: &Store, watches: &mut [Watch]) {
    let put = store.put(Put::new(name(0), vec![b'x'; VALUE_BYTES]));
    let revision = put.await.unwrap().revision;
    let seen = join_all(watches.iter_mut().map(StreamExt::next)).await;
    for event in seen {
        assert_eq!(event.unwrap().unwrap().revision, revision);
    }
}

fn name(key: usize) -> String {
    format!("/objects/{key:06}")
}
