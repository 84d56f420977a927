//! Requests to the API of the server under test, each write with the number that its audit record must carry. What is written is in `manifest`,
//! how a request is sent in the harness.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, bail};
use clos_harness::{Answer, Server};
use serde_json::Value;

/// How long a write is tried that has to succeed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A client of one server process; a later process has another port and needs another client.
pub(crate) struct Api(clos_harness::Api);

/// A request that changes something.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// A write that was answered, and how: there must be one record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) request: String,
    pub(crate) code: u16,
    pub(crate) what: String,
}

impl Write {
    /// A new object in a collection.
    pub(crate) fn create(collection: &str, body: Value) -> Self {
        Self {
            method: "POST",
            path: collection.to_owned(),
            body,
        }
    }

    /// A merge patch of an object.
    pub(crate) fn patch(path: &str, body: Value) -> Self {
        Self {
            method: "PATCH",
            path: path.to_owned(),
            body,
        }
    }

    /// The end of an object.
    pub(crate) fn delete(path: &str) -> Self {
        Self {
            method: "DELETE",
            path: path.to_owned(),
            body: Value::Null,
        }
    }
}

impl Api {
    /// A client of the server that runs now.
    pub(crate) fn of(server: &Server) -> anyhow::Result<Self> {
        let api = clos_harness::Api::of(&server.kubeconfig());
        api.map(Self).map_err(Error::msg)
    }

    /// One write, however it is answered.
    pub(crate) fn send(&self, write: &Write) -> anyhow::Result<Answer> {
        let body = (!write.body.is_null()).then_some(&write.body);
        let answer = self.0.send(write.method, &write.path, body);
        answer.map_err(Error::msg)
    }

    /// One read, however it is answered.
    pub(crate) fn read(&self, path: &str) -> anyhow::Result<Answer> {
        self.0.get(path).map_err(Error::msg)
    }

    /// The text that a GET gives, which must succeed.
    pub(crate) fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.read(path)?.good().map_err(Error::msg)?;
        Ok(answer.body)
    }

    /// The JSON that a GET gives, which must succeed.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text(path)?)
            .with_context(|| format!("GET {path} was not answered with JSON"))
    }

    /// Many reads at once, each on a connection of its own that ends with it; gives how many were answered well.
    pub(crate) fn flood(server: &Server, path: &str, count: u32) -> anyhow::Result<u32> {
        let api = Self::of(server)?;
        Ok(thread::scope(|scope| {
            let reads: Vec<_> = (0..count)
                .map(|_| scope.spawn(|| api.text(path).is_ok()))
                .collect();
            let good = reads.into_iter().map(|read| read.join().unwrap_or(false));
            good.map(u32::from).sum()
        }))
    }

    /// Sends writes, many at once, and calls `then` when so many of them were answered; gives an answer or none for each.
    pub(crate) fn burst(
        &self,
        writes: Vec<Write>,
        enough: usize,
        then: impl FnOnce(),
    ) -> Vec<(Write, Option<Answer>)> {
        let answered = AtomicUsize::new(0);
        let sent = |write: Write| {
            let answer = self.send(&write).ok();
            answered.fetch_add(1, Ordering::Relaxed);
            (write, answer)
        };
        let enough = enough.min(writes.len());
        thread::scope(|scope| {
            let sending: Vec<_> = writes
                .into_iter()
                .map(|write| scope.spawn(move || sent(write)))
                .collect();
            while answered.load(Ordering::Relaxed) < enough {
                crate::pause(Duration::from_millis(1));
            }
            then();
            let ended = sending.into_iter().map(thread::ScopedJoinHandle::join);
            ended
                .map(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    /// A write that has to succeed: what is not there yet, or busy, is waited for.
    pub(crate) fn insist(&self, write: &Write) -> anyhow::Result<(Acknowledged, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let why = match self.send(write) {
                Ok(answer) => {
                    let may_pass = matches!(answer.code, 404 | 409 | 429 | 503 | 504);
                    match answer.good() {
                        Ok(answer) => {
                            let body = answer.json();
                            let acknowledged = Acknowledged {
                                request: answer.request,
                                code: answer.code,
                                what: answer.asked,
                            };
                            return Ok((acknowledged, body));
                        }
                        Err(why) if may_pass => why,
                        Err(why) => bail!("{why}"),
                    }
                }
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!("{} {} does not succeed: {why}", write.method, write.path);
            }
            crate::pause(Duration::from_millis(100));
        }
    }
}
