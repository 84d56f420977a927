//! The certificate authority, the server's certificate and the admin kubeconfig of a standalone server: made at the first start, kept
//! afterwards, renewed in time. How certificates are made is the auth crate's business.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clos_auth::{
    Authority, AuthorityError, Created, WriteError, kubeconfig, validity, write_private,
};
use jiff::Timestamp;
use kube::config::Kubeconfig;
use rustls::ServerConfig;

/// The name of the cluster, the context and the user in the kubeconfig.
const CLUSTER: &str = "clos";
/// The group that may do everything.
const ADMINISTRATORS: &str = "system:masters";
/// How long a client certificate lasts.
const LIFETIME: Duration = Duration::from_hours(365 * 24);
/// A kubeconfig whose certificate ends sooner than this is written anew.
const RENEWAL: Duration = Duration::from_hours(35 * 24);

/// Why credentials could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The authority or a certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The file at the kubeconfig's place is somebody else's.
    #[error("{} is not a kubeconfig that clos wrote; give --kubeconfig another path, clos will not overwrite it", path.display())]
    Foreign {
        /// Where it lies.
        path: PathBuf,
    },
    /// Writing it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What a server identifies itself and its administrator with.
pub(crate) struct Credentials {
    authority: Authority,
    names: Vec<String>,
    kubeconfig: PathBuf,
    url: String,
}

impl Credentials {
    /// Opens or makes the authority below the data directory, and the kubeconfig. True when the authority is new.
    pub(crate) fn open(
        data_dir: &Path,
        kubeconfig: &Path,
        listen: SocketAddr,
        hostname: &str,
        now: Timestamp,
    ) -> Result<(Self, bool), CredentialsError> {
        let (authority, created) = Authority::open_or_create(&data_dir.join("pki"), now)?;
        let credentials = Self {
            authority,
            names: names(listen.ip(), hostname),
            kubeconfig: kubeconfig.to_owned(),
            url: url(listen),
        };
        Ok((credentials, matches!(created, Created::Yes)))
    }

    /// Where clients reach the server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The last second of the authority, after which nobody can trust the server.
    pub(crate) fn end_of_authority(&self) -> Timestamp {
        self.authority.end()
    }

    /// How the server speaks TLS; its certificate is renewed when it nears its end.
    pub(crate) fn tls(&self, now: Timestamp) -> Result<Arc<ServerConfig>, CredentialsError> {
        Ok(self.authority.server_config(&self.names, now)?)
    }

    /// Writes the admin kubeconfig unless the one that is there is still good. True when it was written.
    pub(crate) fn keep_kubeconfig(&self, now: Timestamp) -> Result<bool, CredentialsError> {
        match self.existing(now) {
            Existing::Good => Ok(false),
            Existing::Foreign => Err(CredentialsError::Foreign {
                path: self.kubeconfig.clone(),
            }),
            Existing::None | Existing::Outdated => {
                let credential =
                    self.authority
                        .issue_client("admin", ADMINISTRATORS, LIFETIME, now)?;
                let text = kubeconfig(
                    CLUSTER,
                    &self.url,
                    self.authority.certificate_pem(),
                    &credential,
                );
                write_private(&self.kubeconfig, text.as_bytes())?;
                Ok(true)
            }
        }
    }

    fn existing(&self, now: Timestamp) -> Existing {
        if !self.kubeconfig.exists() {
            return Existing::None;
        }
        let Ok(found) = Kubeconfig::read_from(&self.kubeconfig) else {
            return Existing::Foreign;
        };
        let ([cluster], [user]) = (found.clusters.as_slice(), found.auth_infos.as_slice()) else {
            return Existing::Foreign;
        };
        if cluster.name != CLUSTER {
            return Existing::Foreign;
        }
        let cluster = cluster.cluster.clone().unwrap_or_default();
        let authority = cluster
            .certificate_authority_data
            .and_then(|data| decode(&data));
        let same_server = cluster.server.as_deref() == Some(&self.url)
            && authority.as_deref() == Some(self.authority.certificate_pem());
        // Not the file's own time: whoever edits or copies the file changes that.
        let certificate = user.auth_info.as_ref();
        let certificate = certificate.and_then(|user| user.client_certificate_data.as_deref());
        let valid = certificate
            .and_then(decode)
            .and_then(|pem| validity(pem.as_bytes()))
            .is_some_and(|(begin, end)| begin <= now && now + RENEWAL < end);
        if same_server && valid {
            Existing::Good
        } else {
            Existing::Outdated
        }
    }
}

/// What lies at the kubeconfig's place.
enum Existing {
    None,
    Good,
    Outdated,
    Foreign,
}

fn decode(data: &str) -> Option<String> {
    use base64::Engine as _;
    String::from_utf8(
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .ok()?,
    )
    .ok()
}

/// Every name a client may use for the server.
fn names(ip: IpAddr, hostname: &str) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if !hostname.is_empty() && hostname != "localhost" {
        names.push(hostname.to_owned());
    }
    if !ip.is_unspecified() && !ip.is_loopback() {
        names.push(ip.to_string());
    }
    names
}

/// Where a client on this machine reaches the server.
fn url(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        format!("https://127.0.0.1:{}", listen.port())
    } else {
        format!("https://{listen}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, port: u16, now: Timestamp) -> (Credentials, bool) {
        let listen = SocketAddr::from(([127, 0, 0, 1], port));
        Credentials::open(folder, &folder.join("kubeconfig"), listen, "box", now).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_first_start_makes_an_authority_and_a_kubeconfig_and_the_second_keeps_both() {
        let folder = tempfile::tempdir().unwrap();
        let (first, created) = open(folder.path(), 8081, now());
        assert!(created);
        assert!(first.keep_kubeconfig(now()).unwrap());
        let written = std::fs::read(folder.path().join("kubeconfig")).unwrap();
        let (second, created) = open(folder.path(), 8081, now());
        assert!(!created);
        assert!(!second.keep_kubeconfig(now()).unwrap());
        assert_eq!(
            std::fs::read(folder.path().join("kubeconfig")).unwrap(),
            written
        );
    }

    #[test]
    fn the_kubeconfig_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), 8081, now())
            .0
            .keep_kubeconfig(now())
            .unwrap();
        let mode = std::fs::metadata(folder.path().join("kubeconfig"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_port_or_an_old_certificate_writes_it_anew() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), 8081, now())
            .0
            .keep_kubeconfig(now())
            .unwrap();
        assert!(
            open(folder.path(), 9443, now())
                .0
                .keep_kubeconfig(now())
                .unwrap()
        );
        let next_year = now() + Duration::from_hours(340 * 24);
        assert!(
            open(folder.path(), 9443, next_year)
                .0
                .keep_kubeconfig(next_year)
                .unwrap()
        );
    }

    #[test]
    fn a_kubeconfig_of_a_time_before_the_clock_was_set_back_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = now() + Duration::from_hours(20 * 365 * 24);
        let (credentials, _) = open(folder.path(), 8081, now());
        credentials.keep_kubeconfig(wrong).unwrap();
        assert!(credentials.keep_kubeconfig(now()).unwrap());
        assert!(!credentials.keep_kubeconfig(now()).unwrap());
    }

    #[test]
    fn who_edits_the_kubeconfig_does_not_keep_its_certificate_from_being_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let (credentials, _) = open(folder.path(), 8081, now());
        credentials.keep_kubeconfig(now()).unwrap();
        let path = folder.path().join("kubeconfig");
        let next_year = now() + Duration::from_hours(340 * 24);
        let edited = std::fs::File::options().write(true).open(path).unwrap();
        edited
            .set_modified(std::time::SystemTime::from(next_year))
            .unwrap();
        assert!(credentials.keep_kubeconfig(next_year).unwrap());
    }

    #[test]
    fn somebody_elses_kubeconfig_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let foreign = "apiVersion: v1\nkind: Config\nclusters:\n- name: production\n  cluster: {server: https://10.0.0.1}\n";
        std::fs::write(&path, foreign).unwrap();
        let error = open(folder.path(), 8081, now())
            .0
            .keep_kubeconfig(now())
            .unwrap_err();
        assert!(
            error.to_string().contains("clos will not overwrite it"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
    }

    #[test]
    fn a_server_on_every_address_is_reached_on_loopback() {
        assert_eq!(
            url("0.0.0.0:8081".parse().unwrap()),
            "https://127.0.0.1:8081"
        );
        assert_eq!(url("[::1]:8081".parse().unwrap()), "https://[::1]:8081");
    }
}
