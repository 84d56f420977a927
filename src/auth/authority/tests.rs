//! What the authority keeps, issues, refuses and renews.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Authority, AuthorityError, Created};
use crate::file::mode_of;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    "2026-11-23T09:30:00Z".parse().unwrap()
}

fn open(folder: &Path) -> (Authority, Created) {
    Authority::open_or_create(folder, now()).unwrap()
}

fn refusal(folder: &Path) -> AuthorityError {
    Authority::open_or_create(folder, now()).unwrap_err()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn server_certificate(folder: &Path) -> String {
    fs::read_to_string(folder.join("server.crt")).unwrap()
}

#[test]
fn the_first_start_makes_an_authority_and_the_next_reads_it() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data/pki");
    let (first, created) = open(&folder);
    assert_eq!(created, Created::Yes);
    let (second, created) = open(&folder);
    assert_eq!(created, Created::No);
    assert_eq!(first.certificate_pem(), second.certificate_pem());
}

#[test]
fn keys_are_closed_to_others_and_certificates_are_open() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("pki");
    let (authority, _) = open(&folder);
    authority
        .server_config(&names(&["localhost"]), now())
        .unwrap();
    let mode = |name| mode_of(&folder.join(name)).unwrap();
    assert_eq!(mode("ca.key"), 0o600);
    assert_eq!(mode("server.key"), 0o600);
    assert_eq!(mode("ca.crt"), 0o644);
    assert_eq!(mode("server.crt"), 0o644);
    assert_eq!(mode_of(&folder).unwrap(), 0o700);
}

#[test]
fn a_key_others_can_read_is_refused_with_the_command_that_closes_it() {
    let home = tempfile::tempdir().unwrap();
    open(home.path());
    let key = home.path().join("ca.key");
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let error = refusal(home.path());
        assert!(
            matches!(error, AuthorityError::KeyExposed { .. }),
            "{error}"
        );
        let text = error.to_string();
        let command = format!("run: chmod 600 {}", key.display());
        assert!(text.ends_with(&command), "{text}");
        assert!(text.contains(&format!("(mode {mode:04o})")), "{text}");
    }
    fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
    open(home.path());
}

#[test]
fn a_start_that_died_between_key_and_certificate_is_finished_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let (before, _) = open(home.path());
    let client = before
        .issue_client("jane", "system:masters", Duration::from_hours(24), now())
        .unwrap();
    fs::remove_file(home.path().join("ca.crt")).unwrap();
    let (after, created) = open(home.path());
    assert_eq!(created, Created::Yes);
    let issued = pem(&client.certificate_pem);
    let (_, issued) = x509_parser::parse_x509_certificate(&issued).unwrap();
    assert!(crate::certificate::is_issued_by(
        &issued,
        &after.certificate
    ));
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let home = tempfile::tempdir().unwrap();
    open(home.path());
    fs::remove_file(home.path().join("ca.key")).unwrap();
    let error = refusal(home.path());
    assert!(
        matches!(error, AuthorityError::KeyMissing { .. }),
        "{error}"
    );
    assert!(!home.path().join("ca.key").exists());
}

#[test]
fn damaged_files_are_named() {
    let home = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (authority, _) = open(home.path());
    open(other.path());
    let certificate = home.path().join("ca.crt");
    let key = home.path().join("ca.key");
    let client = authority
        .issue_client("jane", "system:masters", Duration::from_hours(24), now())
        .unwrap();
    let foreign = fs::read_to_string(other.path().join("ca.crt")).unwrap();
    for (content, problem) in [
        ("not a certificate".to_owned(), "holds no PEM certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            "holds no X.509 certificate",
        ),
        (
            client.certificate_pem,
            "is not the certificate of an authority",
        ),
        (foreign, "does not belong to the key beside it"),
    ] {
        fs::write(&certificate, content).unwrap();
        let text = refusal(home.path()).to_string();
        let expected = format!("{} {problem}; restore it", certificate.display());
        assert!(text.starts_with(&expected), "{text}");
    }
    fs::write(&key, "garbage").unwrap();
    let text = refusal(home.path()).to_string();
    let expected = format!("{} holds no private key", key.display());
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn an_authority_lasts_ten_years_and_then_says_so() {
    let home = tempfile::tempdir().unwrap();
    open(home.path());
    let nearly = now() + DAY * 3649;
    Authority::open_or_create(home.path(), nearly).unwrap();
    let over = now() + DAY * 3651;
    let error = Authority::open_or_create(home.path(), over).unwrap_err();
    assert!(
        matches!(&error, AuthorityError::Expired { end, .. } if *end == now() + DAY * 3650),
        "{error}"
    );
}

#[test]
fn the_server_certificate_is_kept_while_names_and_time_allow() {
    let home = tempfile::tempdir().unwrap();
    let (authority, _) = open(home.path());
    let folder = home.path();
    authority
        .server_config(&names(&["localhost", "127.0.0.1", "::1"]), now())
        .unwrap();
    let first = server_certificate(folder);

    let same = names(&["0:0:0:0:0:0:0:1", "127.0.0.1", "LOCALHOST", "localhost"]);
    authority.server_config(&same, now() + DAY * 300).unwrap();
    assert_eq!(server_certificate(folder), first, "issued without need");

    authority.server_config(&same, now() + DAY * 336).unwrap();
    let renewed = server_certificate(folder);
    assert_ne!(renewed, first, "kept until it was nearly over");

    authority
        .server_config(&names(&["localhost", "example.org"]), now() + DAY * 336)
        .unwrap();
    let renamed = server_certificate(folder);
    assert_ne!(renamed, renewed, "kept with the wrong names");
    let der = pem(&renamed);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let expected = names(&["example.org", "localhost"]);
    assert!(crate::certificate::names_of(&parsed).iter().eq(&expected));
}

#[test]
fn a_server_certificate_that_cannot_serve_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let (authority, _) = open(folder);
    let names = names(&["localhost"]);
    let foreign = tempfile::tempdir().unwrap();
    open(foreign.path()).0.server_config(&names, now()).unwrap();
    let copy = |name: &str| {
        fs::copy(foreign.path().join(name), folder.join(name)).unwrap();
    };
    let spoil: [(&str, &dyn Fn()); 5] = [
        ("the key is missing", &|| {
            fs::remove_file(folder.join("server.key")).unwrap();
        }),
        ("another authority's", &|| {
            copy("server.crt");
            copy("server.key");
        }),
        ("another key", &|| copy("server.key")),
        ("cut short", &|| {
            fs::write(folder.join("server.crt"), "-----BEGIN CERT").unwrap();
        }),
        ("an exposed key", &|| {
            let open = Permissions::from_mode(0o644);
            fs::set_permissions(folder.join("server.key"), open).unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        authority.server_config(&names, now()).unwrap();
        let before = server_certificate(folder);
        spoil();
        authority.server_config(&names, now()).unwrap();
        let after = server_certificate(folder);
        assert_ne!(after, before, "{what}");
        authority.server_config(&names, now()).unwrap();
        assert_eq!(server_certificate(folder), after, "{what}: replaced twice");
    }
}

#[test]
fn names_that_cannot_stand_in_a_certificate_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let (authority, _) = open(home.path());
    for name in ["", "http://example.org", "two words", "bücher.example"] {
        let error = authority.server_config(&names(&[name]), now()).unwrap_err();
        assert!(
            matches!(&error, AuthorityError::Name { name: given, .. } if given == name),
            "{error}"
        );
    }
    let long = "a".repeat(65);
    for (user, group) in [
        ("", "system:masters"),
        ("jane", ""),
        ("jane\nadmin", "system:masters"),
        (long.as_str(), "system:masters"),
    ] {
        let error = authority
            .issue_client(user, group, Duration::from_hours(1), now())
            .unwrap_err();
        assert!(matches!(error, AuthorityError::Name { .. }), "{error}");
    }
}

#[test]
fn a_lifetime_beyond_all_calendars_ends_with_the_last_year() {
    let home = tempfile::tempdir().unwrap();
    let (authority, _) = open(home.path());
    let client = authority
        .issue_client("jane", "system:masters", Duration::MAX, now())
        .unwrap();
    let der = pem(&client.certificate_pem);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(parsed.validity().not_after.timestamp(), 253_402_300_799);
}

#[test]
fn i9_debug_output_holds_no_key() {
    let home = tempfile::tempdir().unwrap();
    let (authority, _) = open(home.path());
    let client = authority
        .issue_client("jane", "system:masters", Duration::from_hours(1), now())
        .unwrap();
    assert_eq!(
        format!("{client:?}"),
        r#"ClientCredential { user: "jane", .. }"#
    );
    assert!(!format!("{authority:?}").contains("PRIVATE"));
}

fn pem(text: &str) -> rustls::pki_types::CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
}
