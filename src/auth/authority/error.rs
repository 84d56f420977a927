//! Why an authority cannot be used, each with what to do about it.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::file::WriteError;
use crate::tls::TlsError;

/// Why the authority cannot be used. None of these goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file is there and cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Others on this machine can read the key.
    #[error(
        "the key {path} can be read by other users (mode {mode:04o}); \
         if nobody has, run: chmod 600 {path}",
        path = path.display()
    )]
    KeyExposed {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The certificate is there, its key is not.
    #[error(
        "{certificate} is there, but its key {key} is missing; \
         restore the key, or remove the certificate to make a new authority",
        certificate = certificate.display(), key = key.display()
    )]
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file does not hold what it should.
    #[error(
        "{path} {problem}; \
         restore it, or remove it together with its pair to make a new authority",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, as the rest of a sentence.
        problem: &'static str,
    },
    /// The authority's time is over.
    #[error(
        "the certificate authority {path} ended at {end}; \
         remove it and its key to make a new one, and hand out new kubeconfigs",
        path = path.display()
    )]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// Its last second.
        end: Timestamp,
    },
    /// A name that cannot stand in a certificate.
    #[error("{name:?} cannot stand in a certificate; give {expected}")]
    Name {
        /// The name.
        name: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A certificate or key could not be made.
    #[error("cannot issue a certificate for {subject}")]
    Issue {
        /// Whose.
        subject: String,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library does not take a certificate or key just issued.
    #[error("the server's certificate cannot be used")]
    Unusable(#[source] rustls::Error),
    /// TLS cannot be set up with them.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
}
