//! Requests to the API of the server under test, each write with the number that its audit record must carry. What is written is in `manifest`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clos_harness::Server;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Runtime;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);

/// How long a write is tried that has to succeed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A client of one server process; a later process has another port and needs another client.
pub(crate) struct Api {
    runtime: Runtime,
    client: Client,
}

/// What a request is.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) request: String,
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot make a runtime")?;
        let client = runtime.block_on(client(server))?;
        Ok(Self { runtime, client })
    }

    /// One request, however it is answered.
    pub(crate) fn send(&self, write: &Write) -> anyhow::Result<Answer> {
        self.runtime
            .block_on(send(self.client.clone(), write.clone()))
    }

    /// Many reads at once, each on a connection of its own that ends with it; gives how many were answered well.
    pub(crate) fn flood(server: &Server, path: &str, count: u32) -> anyhow::Result<u32> {
        let api = Self::of(server)?;
        api.runtime.block_on(async {
            let mut reads = tokio::task::JoinSet::new();
            for _ in 0..count {
                let read = Write {
                    method: "GET",
                    path: path.to_owned(),
                    body: Value::Null,
                };
                reads.spawn(send(api.client.clone(), read));
            }
            let mut good = 0;
            while let Some(answer) = reads.join_next().await {
                good += u32::from(matches!(answer, Ok(Ok(answer)) if answer.code == 200));
            }
            Ok(good)
        })
    }

    /// Sends writes, many at once, and calls `then` when so many of them were answered; gives an answer or none for each.
    pub(crate) fn burst(
        &self,
        writes: Vec<Write>,
        enough: usize,
        then: impl FnOnce(),
    ) -> Vec<(Write, Option<Answer>)> {
        let answered = Arc::new(AtomicUsize::new(0));
        let running: Vec<_> = writes
            .into_iter()
            .map(|write| {
                let task = self.runtime.handle().clone();
                let (client, sent) = (self.client.clone(), write.clone());
                let answered = answered.clone();
                let sending = move || {
                    let answer = task.block_on(send(client, sent)).ok();
                    answered.fetch_add(1, Ordering::Relaxed);
                    answer
                };
                (write, std::thread::spawn(sending))
            })
            .collect();
        while answered.load(Ordering::Relaxed) < enough.min(running.len()) {
            crate::pause(Duration::from_millis(1));
        }
        then();
        let ended = running.into_iter();
        ended
            .map(|(write, thread)| (write, thread.join().ok().flatten()))
            .collect()
    }

    /// A GET that must succeed.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.send(&Write {
            method: "GET",
            path: path.to_owned(),
            body: Value::Null,
        })?;
        anyhow::ensure!(
            answer.code == 200,
            "GET {path} was answered {}: {}",
            answer.code,
            answer.body
        );
        Ok(answer.body)
    }

    /// The text that a GET answers.
    pub(crate) fn text(&self, path: &str) -> anyhow::Result<String> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .context("not a path")?;
        let asking =
            async { tokio::time::timeout(REQUEST, self.client.request_text(request)).await };
        let text = self.runtime.block_on(asking);
        text.with_context(|| format!("GET {path} was not answered"))?
            .with_context(|| format!("cannot GET {path}"))
    }

    /// A write that has to succeed: what is not there yet, or busy, is waited for.
    pub(crate) fn insist(&self, write: &Write) -> anyhow::Result<(Acknowledged, Value)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let why = match self.send(write) {
                Ok(answer) if answer.code < 300 => {
                    let acknowledged = Acknowledged {
                        request: answer.request,
                        code: answer.code,
                        what: format!("{} {}", write.method, write.path),
                    };
                    return Ok((acknowledged, answer.body));
                }
                Ok(answer) if matches!(answer.code, 404 | 409 | 429 | 503 | 504) => {
                    format!("{}: {}", answer.code, answer.body["message"])
                }
                Ok(answer) => bail!(
                    "{} {} was answered {}: {}",
                    write.method,
                    write.path,
                    answer.code,
                    answer.body["message"]
                ),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!("{} {} does not succeed: {why}", write.method, write.path);
            }
            crate::pause(Duration::from_millis(100));
        }
    }
}

async fn client(server: &Server) -> anyhow::Result<Client> {
    let kubeconfig =
        Kubeconfig::read_from(server.kubeconfig()).context("cannot read the kubeconfig")?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let config = config.await.context("cannot use the kubeconfig")?;
    Client::try_from(config).context("cannot make a client")
}

async fn send(client: Client, write: Write) -> anyhow::Result<Answer> {
    let body = if write.body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(&write.body).context("JSON is text")?
    };
    let media = if write.method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = http::Request::builder()
        .method(write.method)
        .uri(&write.path)
        .header("content-type", media)
        .header("user-agent", "clos-soak")
        .body(Body::from(body))
        .context("not a request")?;
    let answering = async {
        let response = client.send(request).await.context("no answer")?;
        let code = response.status().as_u16();
        let id = response
            .headers()
            .get("x-request-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = response
            .into_body()
            .collect()
            .await
            .context("half an answer")?
            .to_bytes();
        anyhow::Ok(Answer {
            code,
            request: id,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    };
    tokio::time::timeout(REQUEST, answering)
        .await
        .context("no answer in time")?
}
