//! The API on a real socket: TLS, client certificates, slow clients, shutdown.

use std::sync::Arc;
use std::time::Duration;

use clos_apiserver::{Limits, ServeError};
use clos_auth::{Authority, kubeconfig};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::support::Server;

/// A server that listens, and how to reach it.
pub(crate) struct Listening {
    pub(crate) folder: TempDir,
    port: u16,
    authority: Authority,
    now: Timestamp,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), ServeError>>,
    _tls: watch::Sender<Arc<ServerConfig>>,
}

impl Listening {
    pub(crate) async fn new(limits: Limits) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "certificates are judged by the real time"
        )]
        let now = Timestamp::now();
        let folder = tempfile::tempdir().unwrap();
        let (authority, _) = Authority::open_or_create(folder.path(), now).unwrap();
        let config = authority
            .server_config(&["localhost".to_owned(), "127.0.0.1".to_owned()], now)
            .unwrap();
        let (sender, tls) = watch::channel(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server::new().await;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (api, token) = (server.api.clone(), stop.clone());
        tasks.spawn(async move { api.serve(listener, tls, limits, token).await });
        Self {
            folder,
            port,
            authority,
            now,
            stop,
            tasks,
            _tls: sender,
        }
    }

    /// A kubeconfig for this user.
    pub(crate) fn kubeconfig(&self, user: &str, group: &str) -> String {
        let credential = self
            .authority
            .issue_client(user, group, Duration::from_hours(1), self.now)
            .unwrap();
        let url = format!("https://127.0.0.1:{}", self.port);
        kubeconfig("test", &url, self.authority.certificate_pem(), &credential)
    }

    /// What the server sends, until it closes, to a client without a certificate that sends these bytes.
    async fn raw(&self, request: &[u8]) -> String {
        let pem = self.authority.certificate_pem().as_bytes();
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await.unwrap();
        // A server that has seen enough may close before everything is sent.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn client(&self, user: &str, group: &str) -> kube::Client {
        let config = Kubeconfig::from_yaml(&self.kubeconfig(user, group)).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }
}

#[tokio::test]
async fn a_certificate_says_who_asks() {
    let listening = Listening::new(Limits::default()).await;
    let admin: Api<Namespace> = Api::all(listening.client("admin", "system:masters").await);
    assert_eq!(
        admin
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        3
    );
    let jane: Api<Namespace> = Api::all(listening.client("jane", "shop").await);
    let error = jane.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("{error}")
    };
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            403,
            "namespaces is forbidden: User \"jane\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope"
        )
    );
}

#[tokio::test]
async fn a_watch_ends_and_a_request_finishes_when_the_server_stops() {
    let mut listening = Listening::new(Limits::default()).await;
    let api: Api<ConfigMap> =
        Api::default_namespaced(listening.client("admin", "system:masters").await);
    let mut watch = api
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    let map = ConfigMap {
        metadata: kube::core::ObjectMeta {
            name: Some("a".to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    api.create(&PostParams::default(), &map).await.unwrap();
    // First the bookmark that ends the initial, empty list.
    assert!(matches!(
        watch.next().await.unwrap().unwrap(),
        WatchEvent::Bookmark(_)
    ));
    assert!(matches!(
        watch.next().await.unwrap().unwrap(),
        WatchEvent::Added(_)
    ));
    listening.stop.cancel();
    let end = watch.next().await;
    assert!(end.is_none(), "{end:?}");
    listening.tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(
        TcpStream::connect(("127.0.0.1", listening.port))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn clients_that_say_nothing_are_cut_off_and_make_room_for_others() {
    let limits = Limits {
        connections: 2,
        patience: Duration::from_millis(200),
        ..Limits::default()
    };
    let listening = Listening::new(limits).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(
            TcpStream::connect(("127.0.0.1", listening.port))
                .await
                .unwrap(),
        );
    }
    // The good client waits behind them and is served.
    let api: Api<Namespace> = Api::all(listening.client("admin", "system:masters").await);
    assert_eq!(
        api.list(&ListParams::default()).await.unwrap().items.len(),
        3
    );
    for mut stream in silent {
        assert_eq!(
            stream.read(&mut [0; 16]).await.unwrap_or(0),
            0,
            "the server closes the connection"
        );
    }
}

#[tokio::test]
async fn hostile_heads_are_refused_and_half_ones_are_not_waited_for() {
    let limits = Limits {
        patience: Duration::from_millis(500),
        ..Limits::default()
    };
    let listening = Listening::new(limits).await;
    let request = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
    };
    let many = (0..120)
        .map(|index| format!("x-{index}: y\r\n"))
        .collect::<Vec<_>>()
        .concat();
    // However much of a head comes with one read: hyper's buffer is larger than the largest head.
    let large = |bytes| format!("x: {}\r\n", "y".repeat(bytes));
    for (what, request, expected) in [
        ("a good one", request("/version", ""), "HTTP/1.1 200 "),
        ("many headers", request("/version", &many), "HTTP/1.1 431 "),
        (
            "a header that has room",
            request("/version", &large(400_000)),
            "HTTP/1.1 200 ",
        ),
        (
            "a header that is just too large",
            request("/version", &large(410_000)),
            "HTTP/1.1 431 ",
        ),
        (
            "a large header",
            request("/version", &large(500_000)),
            "HTTP/1.1 431 ",
        ),
        (
            "a long path",
            request(&format!("/{}", "a".repeat(100_000)), ""),
            "HTTP/1.1 414 ",
        ),
        (
            "a strange method",
            request("/version", "").replace("GET", "BREW"),
            "HTTP/1.1 401 ",
        ),
        (
            "a secret place",
            request("/api/v1/secrets", ""),
            "HTTP/1.1 401 ",
        ),
        (
            "a half head",
            "GET /version HTTP/1.1\r\nHost:".to_owned(),
            "",
        ),
    ] {
        let answer = listening.raw(request.as_bytes()).await;
        assert!(answer.starts_with(expected), "{what}: {answer}");
        assert_eq!(answer.is_empty(), expected.is_empty(), "{what}: {answer}");
    }
}

#[tokio::test]
async fn plain_http_is_not_answered() {
    let listening = Listening::new(Limits::default()).await;
    let mut stream = TcpStream::connect(("127.0.0.1", listening.port))
        .await
        .unwrap();
    stream
        .write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
