//! How clos speaks TLS: one provider, TLS 1.2 and 1.3, client certificates verified but optional.
//! Issuing is the authority's part.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

/// Passed in everywhere, so that nothing depends on a process-wide default somebody may or may
/// not have installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Why certificates that were read well cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's certificate is no trust anchor.
    #[error("the authority's certificate cannot be trusted")]
    Anchor(#[source] rustls::Error),
    /// No verifier can be made for client certificates.
    #[error("client certificates cannot be verified")]
    Verifier(#[source] VerifierBuilderError),
    /// The provider cannot speak TLS 1.2 and 1.3.
    #[error("TLS 1.2 and 1.3 are not available")]
    Versions(#[source] rustls::Error),
}

/// A server that asks for a client certificate: one of `authority` is accepted, none is, too (the
/// API answers 401 where it needs one), any other ends the handshake.
pub(crate) fn server_config(
    authority: &CertificateDer<'static>,
    server: Arc<CertifiedKey>,
) -> Result<ServerConfig, TlsError> {
    let mut anchors = RootCertStore::empty();
    anchors.add(authority.clone()).map_err(TlsError::Anchor)?;
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Versions)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(server)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would carry a client certificate past its end.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
