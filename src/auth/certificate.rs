//! What stands in the certificates clos issues, and how it is read back. Signing and keeping them
//! is the authority's part.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// Certificates begin this much in the past, because clocks differ.
const CLOCK_SKEW: Duration = Duration::from_hours(1);
/// The last second X.509 can express, 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

pub(crate) struct Subject<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) organization: Option<&'a str>,
}

pub(crate) fn authority(now: Timestamp, lifetime: Duration) -> CertificateParams {
    let subject = Subject {
        common_name: "clos authority",
        organization: None,
    };
    let mut params = valid(&subject, now, lifetime);
    // It signs no further authorities.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn leaf(
    subject: &Subject<'_>,
    usage: ExtendedKeyUsagePurpose,
    now: Timestamp,
    lifetime: Duration,
) -> CertificateParams {
    let mut params = valid(subject, now, lifetime);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

/// `names` in the one form they have in a certificate: addresses shortest, DNS names in lower case.
pub(crate) fn canonical(names: &[String]) -> BTreeSet<String> {
    names
        .iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => name.to_ascii_lowercase(),
        })
        .collect()
}

pub(crate) fn alternative_name(name: &str) -> Result<SanType, rcgen::Error> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let plausible = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte));
    if plausible {
        Ok(SanType::DnsName(name.try_into()?))
    } else {
        Err(rcgen::Error::InvalidNameType)
    }
}

/// The certificate's DNS names and addresses, canonical.
pub(crate) fn names_of(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return BTreeSet::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(name)
        .collect()
}

/// The last second the certificate is valid.
pub(crate) fn end_of(certificate: &X509Certificate<'_>) -> Timestamp {
    let seconds = certificate.validity().not_after.timestamp();
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// The first second the certificate is valid.
pub(crate) fn begin_of(certificate: &X509Certificate<'_>) -> Timestamp {
    let seconds = certificate.validity().not_before.timestamp();
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN)
}

/// The first and the last second a certificate is valid; `None` when `pem` holds none.
pub fn validity(pem: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
    Some((begin_of(&parsed), end_of(&parsed)))
}

/// Whether `certificate` names the key of `authority` as its issuer's. The names are always the
/// same, so only the key tells one authority from another.
pub(crate) fn is_issued_by(
    certificate: &X509Certificate<'_>,
    authority: &CertificateDer<'_>,
) -> bool {
    let Ok((_, authority)) = x509_parser::parse_x509_certificate(authority) else {
        return false;
    };
    let own =
        authority
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
                _ => None,
            });
    let named =
        certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    id.key_identifier.as_ref().map(|id| id.0)
                }
                _ => None,
            });
    own.is_some() && own == named
}

fn valid(subject: &Subject<'_>, now: Timestamp, lifetime: Duration) -> CertificateParams {
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    let at = |second: u64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(second.min(LAST_SECOND))
    };
    let mut params = CertificateParams::default();
    params.not_before = at(now.saturating_sub(CLOCK_SKEW.as_secs()));
    params.not_after = at(now.saturating_add(lifetime.as_secs()));
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = subject.organization {
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, organization);
    }
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, subject.common_name);
    params
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
