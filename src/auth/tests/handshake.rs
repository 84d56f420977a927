//! Real TLS handshakes in memory: who gets in, and as whom.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clos_auth::{Authority, ClientCredential, Identity, Method, identity_of, kubeconfig};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

const DAY: Duration = Duration::from_hours(24);

struct Server {
    authority: Authority,
    config: Arc<ServerConfig>,
    folder: tempfile::TempDir,
}

#[expect(
    clippy::disallowed_methods,
    reason = "TLS itself compares certificates with the machine's clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let (authority, _) = Authority::open_or_create(folder.path(), now()).unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let config = authority.server_config(&names, now()).unwrap();
    Server {
        authority,
        config,
        folder,
    }
}

fn client(
    authority_pem: &str,
    credential: Option<&ClientCredential>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut anchors = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).unwrap();
    anchors.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(anchors);
    match credential {
        None => builder.with_no_client_auth(),
        Some(credential) => {
            let certificate =
                CertificateDer::from_pem_slice(credential.certificate_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    }
}

/// Carries bytes between both sides until neither has any more to say.
fn handshake(
    server: &Arc<ServerConfig>,
    client: ClientConfig,
    name: &'static str,
) -> Result<ServerConnection, rustls::Error> {
    let name = ServerName::try_from(name).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut unread = wire.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok(server)
}

fn identity(connection: &ServerConnection) -> Option<Identity> {
    let certificates = connection.peer_certificates()?;
    Some(identity_of(&certificates[0]).unwrap())
}

#[test]
fn a_client_is_who_its_certificate_says_under_both_versions() {
    let server = server();
    let admin = server
        .authority
        .issue_client("admin", "system:masters", DAY, now())
        .unwrap();
    for (version, negotiated) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = client(server.authority.certificate_pem(), Some(&admin), &[version]);
        for name in ["localhost", "127.0.0.1"] {
            let connection = handshake(&server.config, config.clone(), name).unwrap();
            assert_eq!(connection.protocol_version(), Some(negotiated));
            let identity = identity(&connection).unwrap();
            assert_eq!(identity.user, "admin");
            assert!(identity.groups.iter().eq(["system:masters"]));
            assert_eq!(identity.method, Method::ClientCertificate);
        }
    }
}

#[test]
fn a_client_without_a_certificate_gets_in_as_nobody() {
    let server = server();
    let config = client(server.authority.certificate_pem(), None, &[&TLS13]);
    let connection = handshake(&server.config, config, "localhost").unwrap();
    assert_eq!(identity(&connection), None);
}

#[test]
fn a_certificate_of_another_authority_ends_the_handshake() {
    let server = server();
    let other = self::server();
    let impostor = other
        .authority
        .issue_client("admin", "system:masters", DAY, now())
        .unwrap();
    for version in [&TLS12, &TLS13] {
        let config = client(
            server.authority.certificate_pem(),
            Some(&impostor),
            &[version],
        );
        let error = handshake(&server.config, config, "localhost").unwrap_err();
        assert!(
            matches!(error, rustls::Error::InvalidCertificate(_)),
            "{error}"
        );
    }
}

#[test]
fn a_client_certificate_whose_time_is_over_or_not_yet_come_ends_the_handshake() {
    let server = server();
    let day = jiff::SignedDuration::from_hours(24);
    for start in [now() - day * 3, now() + day] {
        let credential = server
            .authority
            .issue_client("admin", "system:masters", DAY, start)
            .unwrap();
        let config = client(
            server.authority.certificate_pem(),
            Some(&credential),
            &[&TLS13],
        );
        let error = handshake(&server.config, config, "localhost").unwrap_err();
        assert!(
            matches!(error, rustls::Error::InvalidCertificate(_)),
            "{error}"
        );
    }
}

#[test]
fn the_servers_own_certificate_is_no_clients() {
    let server = server();
    let read = |name: &str| std::fs::read_to_string(server.folder.path().join(name)).unwrap();
    let mut stolen = server
        .authority
        .issue_client("admin", "system:masters", DAY, now())
        .unwrap();
    stolen.certificate_pem = read("server.crt");
    stolen.key_pem = read("server.key");
    let config = client(server.authority.certificate_pem(), Some(&stolen), &[&TLS13]);
    let error = handshake(&server.config, config, "localhost").unwrap_err();
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(_)),
        "{error}"
    );
}

#[test]
fn a_server_under_another_name_or_authority_is_not_believed() {
    let server = server();
    let config = client(server.authority.certificate_pem(), None, &[&TLS13]);
    handshake(&server.config, config, "example.org").unwrap_err();
    let other = self::server();
    let config = client(other.authority.certificate_pem(), None, &[&TLS13]);
    handshake(&server.config, config, "localhost").unwrap_err();
}

#[test]
fn http_2_is_preferred_and_http_1_understood() {
    let server = server();
    for (offered, chosen) in [
        (vec!["h2", "http/1.1"], "h2"),
        (vec!["http/1.1", "h2"], "h2"),
        (vec!["http/1.1"], "http/1.1"),
    ] {
        let mut config = client(server.authority.certificate_pem(), None, &[&TLS13]);
        config.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let connection = handshake(&server.config, config, "localhost").unwrap();
        assert_eq!(connection.alpn_protocol(), Some(chosen.as_bytes()));
    }
}

#[test]
fn a_session_is_never_resumed() {
    let server = server();
    let admin = server
        .authority
        .issue_client("admin", "system:masters", DAY, now())
        .unwrap();
    for version in [&TLS12, &TLS13] {
        let config = client(server.authority.certificate_pem(), Some(&admin), &[version]);
        for _ in 0..3 {
            let connection = handshake(&server.config, config.clone(), "localhost").unwrap();
            let kind = connection.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Full));
        }
    }
}

#[test]
fn the_kubeconfig_carries_everything_a_client_needs() {
    let server = server();
    let admin = server
        .authority
        .issue_client("admin", "system:masters", DAY, now())
        .unwrap();
    let text = kubeconfig(
        "clos",
        "https://127.0.0.1:8081",
        server.authority.certificate_pem(),
        &admin,
    );
    let read = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    let cluster = read.clusters[0].cluster.as_ref().unwrap();
    let user = read.auth_infos[0].auth_info.as_ref().unwrap();
    let decoded = |data: &Option<String>| {
        let bytes = STANDARD.decode(data.as_ref().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(
        decoded(&cluster.certificate_authority_data),
        server.authority.certificate_pem()
    );
    assert_eq!(
        decoded(&user.client_certificate_data),
        admin.certificate_pem
    );
    assert!(text.contains(&STANDARD.encode(&admin.key_pem)));
    assert!(user.client_key_data.is_some());
}
