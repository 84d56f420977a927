//! The certificate authority of a standalone server: made at first start, kept in one folder,
//! issues the server's certificate and the clients'. How TLS uses them is `tls`' part.

mod error;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{ExtendedKeyUsagePurpose, Issuer, KeyPair, PublicKeyData};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::certificate::{self, Subject};
use crate::file;
use crate::identity::is_plain_name;
use crate::tls;

pub use error::AuthorityError;

const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 3650);
const SERVER_LIFETIME: Duration = Duration::from_hours(24 * 365);
/// A server certificate that ends sooner than this is issued anew.
const SERVER_RENEWAL: Duration = Duration::from_hours(24 * 30);

/// The certificate authority of a standalone server, loaded. Its folder holds `ca.crt`, `ca.key`,
/// `server.crt` and `server.key`; keys are ECDSA P-256.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
}

/// Whether [`Authority::open_or_create`] made a new authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It did.
    Yes,
    /// It read the existing one.
    No,
}

/// A certificate and its key, for one client. Not printed by `Debug`: the key is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredential {
    /// The user the certificate names.
    pub user: String,
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// The private key, PEM (PKCS #8).
    pub key_pem: String,
}

impl Authority {
    /// Opens the authority in `folder`, or makes one that lasts ten years from `now`; missing
    /// folders are made.
    ///
    /// The key is written before the certificate, so a key alone is what a crash leaves: it gets
    /// its certificate then. A key that others may read is refused.
    pub fn open_or_create(
        folder: &Path,
        now: Timestamp,
    ) -> Result<(Self, Created), AuthorityError> {
        let certificate_path = folder.join("ca.crt");
        let key_path = folder.join("ca.key");
        let certificate = read_if_there(&certificate_path)?;
        let key = read_if_there(&key_path)?;
        let (key, certificate_pem, created) = match (key, certificate) {
            (None, Some(_)) => {
                return Err(AuthorityError::KeyMissing {
                    certificate: certificate_path,
                    key: key_path,
                });
            }
            (Some(key_pem), Some(certificate_pem)) => {
                (load_key(&key_path, &key_pem)?, certificate_pem, Created::No)
            }
            (Some(key_pem), None) => {
                let key = load_key(&key_path, &key_pem)?;
                let certificate_pem = create(&certificate_path, &key, now)?;
                (key, certificate_pem, Created::Yes)
            }
            (None, None) => {
                let key = generate_key("the authority")?;
                file::write_private(&key_path, key.serialize_pem().as_bytes())?;
                let certificate_pem = create(&certificate_path, &key, now)?;
                (key, certificate_pem, Created::Yes)
            }
        };
        let authority = Self::load(folder, &certificate_path, certificate_pem, key, now)?;
        Ok((authority, created))
    }

    /// The authority's certificate, PEM: what clients need to trust the server.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The last second the authority's certificate is valid. Its successor is made by hand: see [`AuthorityError::Expired`].
    pub fn end(&self) -> Timestamp {
        certificate::validity(self.certificate_pem.as_bytes())
            .map_or(Timestamp::MAX, |(_, end)| end)
    }

    /// How the server speaks TLS: HTTP/2 and 1.1 over TLS 1.2 and 1.3, with a certificate for
    /// `names` (DNS names and IP addresses). A client may show a certificate of this authority;
    /// one of another authority, or one that is not valid at the time of the handshake, ends the
    /// handshake.
    ///
    /// The server's certificate lasts a year, is kept in the folder, and is issued anew when the
    /// names change or less than thirty days are left. A server that runs for long asks again
    /// each day and puts the answer to use for new connections.
    pub fn server_config(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        let certified = match self.kept_server_certificate(names, now) {
            Ok(certified) => certified,
            Err(reason) => {
                tracing::info!(reason, "issuing the server's certificate");
                self.issue_server_certificate(names, now)?
            }
        };
        let config = tls::server_config(&self.certificate, Arc::new(certified))
            .map_err(AuthorityError::Tls)?;
        Ok(Arc::new(config))
    }

    /// Issues a certificate by which a client is `user` (its common name), a member of `group`
    /// (its organization), from `now` on for `lifetime`. Nothing is kept of it here.
    pub fn issue_client(
        &self,
        user: &str,
        group: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<ClientCredential, AuthorityError> {
        for name in [user, group] {
            // 64 characters is X.509's own bound for both.
            if !is_plain_name(name) || name.chars().count() > 64 {
                return Err(AuthorityError::Name {
                    name: name.to_owned(),
                    expected: "1 to 64 characters without control characters",
                });
            }
        }
        let subject = Subject {
            common_name: user,
            organization: Some(group),
        };
        let params =
            certificate::leaf(&subject, ExtendedKeyUsagePurpose::ClientAuth, now, lifetime);
        let key = generate_key(user)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| issue_failed(user, source))?;
        Ok(ClientCredential {
            user: user.to_owned(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    fn load(
        folder: &Path,
        certificate_path: &Path,
        certificate_pem: String,
        key: KeyPair,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let damaged = |problem| AuthorityError::Damaged {
            path: certificate_path.to_owned(),
            problem,
        };
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| damaged("holds no PEM certificate"))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|_| damaged("holds no X.509 certificate"))?;
        if !parsed.is_ca() {
            return Err(damaged("is not the certificate of an authority"));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(damaged("does not belong to the key beside it"));
        }
        let end = certificate::end_of(&parsed);
        if end <= now {
            return Err(AuthorityError::Expired {
                path: certificate_path.to_owned(),
                end,
            });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|source| issue_failed("the authority", source))?;
        Ok(Self {
            folder: folder.to_owned(),
            issuer,
            certificate,
            certificate_pem,
        })
    }

    /// The kept certificate if it still serves, else why it does not.
    fn kept_server_certificate(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<CertifiedKey, &'static str> {
        let key_path = self.folder.join("server.key");
        let certificate = fs::read(self.folder.join("server.crt")).map_err(|_| "there is none")?;
        let key = fs::read(&key_path).map_err(|_| "its key is missing")?;
        if file::mode_of(&key_path).map_or(true, is_exposed) {
            return Err("others could read its key");
        }
        let certificate = CertificateDer::from_pem_slice(&certificate).map_err(|_| "damaged")?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| "its key is damaged")?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| "damaged")?;
        if !certificate::is_issued_by(&parsed, &self.certificate) {
            return Err("another authority issued it");
        }
        // After the clock was set back from a wrong time, no client would take it.
        if certificate::begin_of(&parsed) > now {
            return Err("it begins in the future");
        }
        if certificate::end_of(&parsed) <= now + SERVER_RENEWAL {
            return Err("it ends soon");
        }
        if certificate::names_of(&parsed) != certificate::canonical(names) {
            return Err("the server's names have changed");
        }
        CertifiedKey::from_der(vec![certificate.clone()], key, &tls::provider())
            .map_err(|_| "it does not belong to its key")
    }

    fn issue_server_certificate(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<CertifiedKey, AuthorityError> {
        let subject = Subject {
            common_name: "clos",
            organization: None,
        };
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let mut params = certificate::leaf(&subject, usage, now, SERVER_LIFETIME);
        for name in certificate::canonical(names) {
            let alternative =
                certificate::alternative_name(&name).map_err(|_| AuthorityError::Name {
                    name: name.clone(),
                    expected: "DNS names or IP addresses",
                })?;
            params.subject_alt_names.push(alternative);
        }
        let key = generate_key("the server")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| issue_failed("the server", source))?;
        file::write_private(
            &self.folder.join("server.key"),
            key.serialize_pem().as_bytes(),
        )?;
        file::write_whole(
            &self.folder.join("server.crt"),
            certificate.pem().as_bytes(),
            0o644,
        )?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        CertifiedKey::from_der(vec![certificate.der().clone()], private, &tls::provider())
            .map_err(AuthorityError::Unusable)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredential")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

fn create(path: &Path, key: &KeyPair, now: Timestamp) -> Result<String, AuthorityError> {
    let certificate = certificate::authority(now, AUTHORITY_LIFETIME)
        .self_signed(key)
        .map_err(|source| issue_failed("the authority", source))?;
    let pem = certificate.pem();
    file::write_whole(path, pem.as_bytes(), 0o644)?;
    Ok(pem)
}

fn load_key(path: &Path, pem: &str) -> Result<KeyPair, AuthorityError> {
    let mode = file::mode_of(path).map_err(|source| AuthorityError::Read {
        path: path.to_owned(),
        source,
    })?;
    if is_exposed(mode) {
        return Err(AuthorityError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    // The cause is dropped: an error about a key's bytes is no text for logs.
    KeyPair::from_pem(pem).map_err(|_| AuthorityError::Damaged {
        path: path.to_owned(),
        problem: "holds no private key in PEM form",
    })
}

fn generate_key(subject: &str) -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|source| issue_failed(subject, source))
}

fn issue_failed(subject: &str, source: rcgen::Error) -> AuthorityError {
    AuthorityError::Issue {
        subject: subject.to_owned(),
        source,
    }
}

fn is_exposed(mode: u32) -> bool {
    mode & 0o077 != 0
}

fn read_if_there(path: &Path) -> Result<Option<String>, AuthorityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AuthorityError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
