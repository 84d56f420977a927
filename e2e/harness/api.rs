//! The client with which tests and runs ask a server's API in process, and its answers as they come. Which server that is, and what its
//! objects are called, is not known here.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);

/// A client of one server process: a later one has another port and needs another client. It tries nothing twice, and may be used by many
/// threads at once, each of which then has a connection of its own.
pub struct Api {
    runtime: Runtime,
    client: Client,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The method and path of the request.
    pub asked: String,
    /// The status code.
    pub code: u16,
    /// The number that the server gave the request.
    pub request: String,
    /// The text.
    pub body: String,
}

impl Api {
    /// A client with the credentials of a kubeconfig.
    pub fn of(kubeconfig: &Path) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| format!("cannot make a runtime: {error}"))?;
        let client = runtime
            .block_on(client(kubeconfig))
            .map_err(|error| format!("no client of {}: {error:?}", kubeconfig.display()))?;
        Ok(Self { runtime, client })
    }

    /// Sends a request, with this JSON as its body; an error in words when no whole answer came.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        let asked = format!("{method} {path}");
        let media = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = body.map(|body| body.to_string().into_bytes());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(Body::from(body.unwrap_or_default()))
            .map_err(|error| format!("{asked} is no request: {error}"))?;
        let answering =
            async { tokio::time::timeout(REQUEST, answer(&self.client, &asked, request)).await };
        match self.runtime.block_on(answering) {
            Ok(answer) => answer.map_err(|error| format!("{asked} was not answered: {error:?}")),
            Err(_) => Err(format!(
                "{asked} was not answered within {} s",
                REQUEST.as_secs()
            )),
        }
    }

    /// Sends a GET, however it is answered.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        self.send("GET", path, None)
    }
}

impl Answer {
    /// The answer when it is one of success, else in words what was answered.
    pub fn good(self) -> Result<Self, String> {
        if (200..300).contains(&self.code) {
            return Ok(self);
        }
        let Self {
            asked, code, body, ..
        } = self;
        Err(format!("{asked} was answered {code}: {body}"))
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("this is no JSON, {error}: {self:?}"))
    }
}

async fn client(kubeconfig: &Path) -> Result<Client, Box<dyn Error>> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn answer(client: &Client, asked: &str, request: Request<Body>) -> kube::Result<Answer> {
    let response = client.send(request).await?;
    let code = response.status().as_u16();
    let id = response.headers().get("x-request-id");
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let request = id.to_owned();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer {
        asked: asked.to_owned(),
        code,
        request,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
