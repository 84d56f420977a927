//! An engine's socket that answers what a test tells it: for answers that no real engine gives on demand. Behaviour of containers is not
//! here.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::DockerEngine;

/// What the stub does with a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Answers with a status and a body.
    Body(u16, String),
    /// Answers with the beginning of a body that goes on: and either ends properly or never.
    Stream { start: String, ends: bool },
    /// Answers with a body that is cut in the middle.
    Half(String),
    /// Reads the request and says nothing.
    Nothing,
    /// Closes the connection.
    Close,
}

/// A socket in a folder of its own; gone when dropped.
pub(super) struct Stub {
    path: PathBuf,
    _folder: TempDir,
    _serving: JoinSet<()>,
}

impl Stub {
    /// Answers every request by its method and path, as `GET /info`. Which versions it speaks it says itself, unless it says nothing.
    pub(super) fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::speaking("1.24", "1.51", answer)
    }

    /// The same, and refuses requests in versions that are not within these two.
    pub(super) fn speaking(
        oldest: &'static str,
        newest: &'static str,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let answer = Arc::new(move |version: Option<&str>, request: &str| {
            let minor = |version: &str| version.split_once('.').unwrap().1.parse::<u32>().unwrap();
            let refuse = |words: String| Reply::Body(400, format!(r#"{{"message":"{words}"}}"#));
            match (version, request) {
                (Some(version), _) if minor(version) > minor(newest) => refuse(format!(
                    "client version {version} is too new. Maximum supported API version is {newest}"
                )),
                (Some(version), _) if minor(version) < minor(oldest) => refuse(format!(
                    "client version {version} is too old. Minimum supported API version is {oldest}, please upgrade your client to a newer version"
                )),
                (None, "GET /version") if !matches!(answer(request), Reply::Nothing) => {
                    Reply::Body(
                        200,
                        format!(
                            r#"{{"ApiVersion":"{newest}","MinAPIVersion":"{oldest}","Version":"0.0.1","Arch":"amd64","Os":"linux"}}"#
                        ),
                    )
                }
                _ => answer(request),
            }
        });
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                connections.spawn(async move {
                    serve(stream, |version, request| answer(version, request)).await;
                });
            }
        });
        Self {
            path,
            _folder: folder,
            _serving: serving,
        }
    }

    pub(super) fn engine(&self) -> DockerEngine {
        DockerEngine::connect(&format!("unix://{}", self.path.display())).unwrap()
    }
}

/// The time, the version and everything else that a current engine answers when it is only asked how it is.
pub(super) fn lively(request: &str) -> Reply {
    match request {
        "GET /info" => Reply::Body(
            200,
            r#"{"SystemTime":"2026-11-23T09:31:02.512345678Z"}"#.to_owned(),
        ),
        "GET /_ping" => Reply::Body(200, "OK".to_owned()),
        _ => Reply::Body(404, r#"{"message":"no such thing"}"#.to_owned()),
    }
}

async fn serve(mut stream: UnixStream, answer: impl Fn(Option<&str>, &str) -> Reply) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&part[..length]),
        }
    }
    let text = String::from_utf8_lossy(&request);
    let mut words = text.split([' ', '?']);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    // As in /v1.51/info.
    let (version, path) = match path
        .strip_prefix("/v1.")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((minor, rest)) => (Some(format!("1.{minor}")), format!("/{rest}")),
        None => (None, path.to_owned()),
    };
    let reply = answer(version.as_deref(), &format!("{method} {path}"));
    let (head, body, ends) = match reply {
        Reply::Body(status, body) => (
            format!("{status} So\r\nContent-Length: {}", body.len()),
            body,
            true,
        ),
        Reply::Half(body) => (
            format!("200 OK\r\nContent-Length: {}", body.len() + 1),
            body,
            true,
        ),
        Reply::Stream { start, ends } => {
            let last = if ends { "0\r\n\r\n" } else { "" };
            let chunk = if start.is_empty() {
                String::new()
            } else {
                format!("{:x}\r\n{start}\r\n", start.len())
            };
            (
                "200 OK\r\nTransfer-Encoding: chunked".to_owned(),
                format!("{chunk}{last}"),
                ends,
            )
        }
        Reply::Nothing => return std::future::pending().await,
        Reply::Close => return,
    };
    let answer = format!("HTTP/1.1 {head}\r\nContent-Type: application/json\r\n\r\n{body}");
    // A client that went away is no failure of the stub.
    let _ = stream.write_all(answer.as_bytes()).await;
    if !ends {
        std::future::pending::<()>().await;
    }
}
