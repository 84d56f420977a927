//! Who somebody is, and how a client's certificate says so. What they may do is the authorizer's
//! question.

use std::collections::BTreeSet;
use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::x509::AttributeTypeAndValue;

/// The group of clos' own parts.
const COMPONENTS: &str = "system:clos";

/// Somebody whose identity is proven. Printed for people and the audit journal as `user:admin` or
/// `controller:instance`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The name, unique among the identities of one method.
    pub user: String,
    /// The groups the name belongs to.
    pub groups: BTreeSet<String>,
    /// How the identity was proven.
    pub method: Method,
}

/// How an identity was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// A part of this process: nothing came from outside.
    Component,
    /// A client certificate of our own authority, verified by TLS.
    ClientCertificate,
}

/// Why a verified client certificate names nobody.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are no X.509 certificate.
    #[error("the client certificate cannot be read")]
    Unreadable(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
    /// A name in the subject is not text.
    #[error("the {attribute} in the client certificate's subject is not text")]
    NotText {
        /// `common name` or `organization`.
        attribute: &'static str,
        /// What is wrong with it.
        #[source]
        source: x509_parser::error::X509Error,
    },
    /// The user's name must stand there exactly once.
    #[error(
        "the client certificate's subject holds {found} common names; one, the user's name, is needed"
    )]
    UserNames {
        /// How many there are.
        found: usize,
    },
    /// A name is empty or holds characters that could forge log lines.
    #[error(
        "the {attribute} in the client certificate's subject is empty or holds control characters"
    )]
    BadName {
        /// `common name` or `organization`.
        attribute: &'static str,
    },
}

impl Identity {
    /// A part of this process, such as `controller:service` or `source:directory`.
    pub fn component(name: &str) -> Self {
        Self {
            user: name.to_owned(),
            groups: BTreeSet::from([COMPONENTS.to_owned()]),
            method: Method::Component,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Method::Component => f.write_str(&self.user),
            // The prefix keeps a certificate for "controller:service" from passing as a component.
            Method::ClientCertificate => write!(f, "user:{}", self.user),
        }
    }
}

/// Reads the identity from a client certificate, as Kubernetes does: the common name is the user,
/// each organization a group. The caller has verified the certificate (TLS did).
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<Identity, CertificateError> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(CertificateError::Unreadable)?;
    let subject = parsed.subject();
    let mut users = names("common name", subject.iter_common_name())?;
    let groups = names("organization", subject.iter_organization())?;
    let found = users.len();
    match (users.pop(), found) {
        (Some(user), 1) => Ok(Identity {
            user,
            groups: groups.into_iter().collect(),
            method: Method::ClientCertificate,
        }),
        _ => Err(CertificateError::UserNames { found }),
    }
}

/// Whether `name` can stand in a log line and an audit event as it is.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

fn names<'a>(
    attribute: &'static str,
    values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<Vec<String>, CertificateError> {
    values
        .map(|value| {
            let name = value
                .as_str()
                .map_err(|source| CertificateError::NotText { attribute, source })?;
            if is_plain_name(name) {
                Ok(name.to_owned())
            } else {
                Err(CertificateError::BadName { attribute })
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use rustls::pki_types::CertificateDer;

    use super::{CertificateError, Identity, Method, identity_of};

    fn certificate(subject: &[(DnType, &str)]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (attribute, value) in subject {
            params.distinguished_name.push(attribute.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_common_name_is_the_user_and_each_organization_a_group() {
        // rcgen keeps one value per attribute; the numeric form of the same one gives the second.
        let second_organization = DnType::CustomDnType(vec![2, 5, 4, 10]);
        let identity = identity_of(&certificate(&[
            (DnType::OrganizationName, "operators"),
            (second_organization, "system:masters"),
            (DnType::CommonName, "jane"),
        ]))
        .unwrap();
        assert_eq!(identity.user, "jane");
        assert_eq!(identity.method, Method::ClientCertificate);
        assert!(identity.groups.iter().eq(["operators", "system:masters"]));
    }

    #[test]
    fn a_certificate_without_a_user_names_nobody() {
        let error = identity_of(&certificate(&[(
            DnType::OrganizationName,
            "system:masters",
        )]));
        assert!(
            matches!(error, Err(CertificateError::UserNames { found: 0 })),
            "{error:?}"
        );
    }

    #[test]
    fn a_certificate_with_two_users_names_nobody() {
        let error = identity_of(&certificate(&[
            (DnType::CommonName, "jane"),
            (DnType::CustomDnType(vec![2, 5, 4, 3]), "admin"),
        ]));
        assert!(
            matches!(error, Err(CertificateError::UserNames { found: 2 })),
            "{error:?}"
        );
    }

    #[test]
    fn a_name_that_could_forge_a_log_line_is_refused() {
        for name in ["jane\nuser:admin", "\u{1b}[31mjane", ""] {
            let error = identity_of(&certificate(&[(DnType::CommonName, name)]));
            assert!(
                matches!(
                    error,
                    Err(CertificateError::BadName {
                        attribute: "common name"
                    })
                ),
                "{name:?}: {error:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let error = identity_of(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]));
        assert!(
            matches!(error, Err(CertificateError::Unreadable(_))),
            "{error:?}"
        );
    }

    #[test]
    fn a_certificate_cannot_pass_as_a_component() {
        let name = "controller:service";
        let outside = identity_of(&certificate(&[
            (DnType::OrganizationName, "system:clos"),
            (DnType::CommonName, name),
        ]))
        .unwrap();
        let inside = Identity::component(name);
        assert_ne!(outside, inside);
        assert_eq!(inside.to_string(), "controller:service");
        assert_eq!(outside.to_string(), "user:controller:service");
    }
}
