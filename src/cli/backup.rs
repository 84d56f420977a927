//! `clos backup` and `clos restore`: keep a copy of everything a server knows, and make a data directory from one. How a backup is checked is
//! `clos_app::backup`'s business.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clos_app::backup::{Announced, Arriving, back_up, restore};
use clos_app::config::{Config, Layer, Setting};
use futures::StreamExt;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use indicatif::HumanBytes;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::Ending;
use crate::args::{BackupArgs, Connection, RestoreArgs};
use crate::connect::{environment, now, surroundings};
use crate::output;
use crate::serve::file_layer;

/// What a backup is, as both sides count it.
struct Kept {
    revision: u64,
    objects: u64,
    records: u64,
    bytes: u64,
}

pub(crate) async fn run(connection: &Connection, args: BackupArgs) -> anyhow::Result<Ending> {
    let began = Instant::now();
    let kept = if let Some(data_dir) = args.data_dir {
        let (file, replace) = (args.file.clone(), args.replace);
        spawn_blocking(move || back_up(&data_dir, &file, replace))
            .await?
            .map(kept)?
    } else {
        // The target is looked at before the server is troubled.
        let arriving = Arriving::begin(&args.file, args.replace)?;
        let client = connection.client().await?;
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            received = receive(&client, arriving) => received?,
            _ = tokio::signal::ctrl_c() => {
                output::note("\nStopped; nothing was kept.")?;
                return Ok(Ending::Interrupted);
            }
            _ = terminated.recv() => bail!("stopped; nothing was kept"),
        }
    };
    output::print(&done(&kept, began.elapsed(), &args.file))?;
    Ok(Ending::Done)
}

pub(crate) async fn run_restore(args: RestoreArgs) -> anyhow::Result<Ending> {
    let data_dir = data_dir(args.data_dir)?;
    let (file, dir, replace) = (args.file.clone(), data_dir.clone(), args.replace);
    let restored = spawn_blocking(move || restore(&file, &dir, replace, now)).await??;
    let has_authority = data_dir.join("pki").exists();
    output::print(&restored_words(
        &kept(restored.backup),
        &data_dir,
        restored.kept.as_deref(),
        has_authority,
    ))?;
    Ok(Ending::Done)
}

/// The data directory that `clos serve` would use here.
fn data_dir(given: Option<String>) -> anyhow::Result<PathBuf> {
    let layers = [
        file_layer(None)?,
        Layer::environment(environment),
        Layer::flags([(Setting::DataDir, given)]),
    ];
    Ok(Config::resolve(&surroundings(), &layers)?.data_dir)
}

/// Takes the server's copy in.
async fn receive(client: &Client, mut arriving: Arriving) -> anyhow::Result<Kept> {
    let request = Request::get("/backup").body(Body::empty())?;
    let response = client
        .send(request)
        .await
        .context("cannot ask the server for a backup")?;
    let (parts, body) = response.into_parts();
    if !parts.status.is_success() {
        let said = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        bail!(refusal(parts.status.as_u16(), &said.unwrap_or_default()));
    }
    let announced = announced(&parts.headers)?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.context("the transfer broke off and nothing was kept; try again")?;
        arriving.write(&chunk)?;
    }
    Ok(spawn_blocking(move || arriving.finish(&announced))
        .await?
        .map(kept)?)
}

/// What the server says of what it sends.
fn announced(headers: &HeaderMap) -> anyhow::Result<Announced> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let length = header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    match (length, header("repr-digest")) {
        (Some(length), Some(digest)) => Ok(Announced {
            length,
            digest: digest.to_owned(),
        }),
        _ => bail!(
            "the server does not say how long its backup is and what its digest is; is it a clos server of this version?"
        ),
    }
}

/// Why there is no backup, in the server's words.
fn refusal(code: u16, body: &[u8]) -> String {
    match serde_json::from_slice::<Status>(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ if code == 404 => {
            "the server knows no backups; is it a clos server of this version?".to_owned()
        }
        Ok(_) | Err(_) => format!("the server answers {code} and makes no backup"),
    }
}

fn kept(backup: clos_app::backup::Backup) -> Kept {
    Kept {
        revision: backup.revision,
        objects: backup.objects,
        records: backup.records,
        bytes: backup.bytes,
    }
}

fn done(kept: &Kept, took: Duration, file: &Path) -> String {
    format!(
        "backed up revision {}: {} objects and {} audit records, {} in {} ms, checked: {}\n\
         It holds the values of Secrets: keep it where only you can read it.\n",
        kept.revision,
        kept.objects,
        kept.records,
        HumanBytes(kept.bytes),
        took.as_millis(),
        file.display()
    )
}

fn restored_words(
    kept: &Kept,
    data_dir: &Path,
    before: Option<&Path>,
    has_authority: bool,
) -> String {
    let dir = data_dir.display();
    let before = before
        .map(|before| format!("the store that was there is kept: {}\n", before.display()))
        .unwrap_or_default();
    let authority = if has_authority {
        ""
    } else {
        "This directory has no certificate authority: the start makes one and writes a new kubeconfig; older ones are no longer accepted.\n"
    };
    format!(
        "restored revision {}: {} objects and {} audit records, into {dir}\n\
         {before}\
         next: clos serve --data-dir {dir}\n\
         It is the same installation: its containers on this machine are recognised and go on running.\n\
         What was made after the backup is listed by: clos confirm\n\
         {authority}",
        kept.revision, kept.objects, kept.records
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seven() -> Kept {
        Kept {
            revision: 1234,
            objects: 567,
            records: 89,
            bytes: 1_258_291,
        }
    }

    #[test]
    fn a_backup_says_what_it_holds_and_that_it_is_to_be_kept_well() {
        let text = done(
            &seven(),
            Duration::from_millis(85),
            Path::new("/srv/clos.backup"),
        );
        insta::assert_snapshot!(text, @r"
        backed up revision 1234: 567 objects and 89 audit records, 1.20 MiB in 85 ms, checked: /srv/clos.backup
        It holds the values of Secrets: keep it where only you can read it.
        ");
    }

    #[test]
    fn a_restoration_says_what_it_kept_and_what_to_do_next() {
        let dir = Path::new("/var/lib/clos");
        let before = dir.join("store.redb.before-restore");
        insta::assert_snapshot!(restored_words(&seven(), dir, Some(&before), true), @r"
        restored revision 1234: 567 objects and 89 audit records, into /var/lib/clos
        the store that was there is kept: /var/lib/clos/store.redb.before-restore
        next: clos serve --data-dir /var/lib/clos
        It is the same installation: its containers on this machine are recognised and go on running.
        What was made after the backup is listed by: clos confirm
        ");
        insta::assert_snapshot!(restored_words(&seven(), dir, None, false), @r"
        restored revision 1234: 567 objects and 89 audit records, into /var/lib/clos
        next: clos serve --data-dir /var/lib/clos
        It is the same installation: its containers on this machine are recognised and go on running.
        What was made after the backup is listed by: clos confirm
        This directory has no certificate authority: the start makes one and writes a new kubeconfig; older ones are no longer accepted.
        ");
    }

    #[test]
    fn a_refusal_is_told_in_the_server_s_words() {
        let body = br#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no backup could be made: the disk is full","code":503}"#;
        assert_eq!(
            refusal(503, body),
            "no backup could be made: the disk is full"
        );
        assert_eq!(
            refusal(404, b"404 page not found"),
            "the server knows no backups; is it a clos server of this version?"
        );
        assert_eq!(
            refusal(502, b"<html>"),
            "the server answers 502 and makes no backup"
        );
    }

    #[test]
    fn an_answer_without_length_or_digest_is_not_taken() {
        let mut headers = HeaderMap::new();
        assert!(announced(&headers).is_err());
        headers.insert(CONTENT_LENGTH, 12.into());
        assert!(announced(&headers).is_err());
        headers.insert("repr-digest", "sha-256=:abc=:".parse().unwrap());
        let expected = Announced {
            length: 12,
            digest: "sha-256=:abc=:".to_owned(),
        };
        assert_eq!(announced(&headers).unwrap(), expected);
    }

    #[tokio::test]
    async fn a_server_that_makes_no_backups_leaves_no_file_and_says_so() {
        let client = crate::tests::server().await;
        let folder = tempfile::tempdir().unwrap();
        let arriving = Arriving::begin(&folder.path().join("a.backup"), false).unwrap();
        let error = receive(&client, arriving).await.err().unwrap();
        assert_eq!(error.to_string(), "this server makes no backups");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    /// A server that answers the question for its version, and every other with these bytes; then it hangs up.
    fn answering(answer: &'static str) -> (String, std::thread::JoinHandle<()>) {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                if first.contains(" /backup ") {
                    connection.write_all(answer.as_bytes()).unwrap();
                    return;
                }
                let version = r#"{"major":"1","minor":"36","gitVersion":"v","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
                write!(
                    connection,
                    "{head}\r\ncontent-length: {}\r\n\r\n{version}",
                    version.len()
                )
                .unwrap();
            }
        });
        (format!("http://{address}"), serving)
    }

    #[tokio::test]
    async fn a_transfer_that_is_cut_leaves_no_file_and_says_why() {
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nrepr-digest: sha-256=:x:\r\n\r\nabc";
        let (server, serving) = answering(cut);
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let connection = Connection {
            kubeconfig: Some(kubeconfig),
            engine: None,
        };
        let target = folder.path().join("kept");
        std::fs::create_dir(&target).unwrap();
        let args = BackupArgs {
            file: target.join("a.backup"),
            replace: false,
            data_dir: None,
        };
        let error = run(&connection, args).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the transfer broke off and nothing was kept; try again"
        );
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
        serving.join().unwrap();
    }
}
