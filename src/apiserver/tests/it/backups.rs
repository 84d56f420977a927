//! Backups as clients get them: whole, for administrators only, recorded, and without a trace on the server's disk.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clos_store::check_backup;
use http_body_util::BodyExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{Server, WIDGETS, admin, read, user};

/// The names in a folder.
fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn a_backup_is_whole_and_says_its_length_and_digest_and_leaves_no_file() {
    let server = Server::new().await;
    let folder = tempfile::tempdir().unwrap();
    server.api.offer_backups(folder.path());
    for number in 0..20 {
        server.widget(&format!("w{number}")).await;
    }
    let revision = server.store.revision();
    let answer = server
        .open(Some(admin()), "GET", "/backup", &[], Body::empty())
        .await;
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let (length, digest) = (header("content-length"), header("repr-digest"));
    assert_eq!(names(folder.path()), [""; 0], "not even while it is sent");
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len().to_string(), length);
    let expected = STANDARD.encode(Sha256::digest(&bytes));
    assert_eq!(digest, format!("sha-256=:{expected}:"));
    let file = folder.path().join("copy");
    std::fs::write(&file, &bytes).unwrap();
    let backup = check_backup(&file).unwrap();
    assert_eq!(backup.revision, revision);
    assert!(backup.objects > 20, "{backup:?}");
}

#[tokio::test]
async fn i9_only_administrators_get_a_backup_and_each_one_and_each_refusal_is_recorded_once() {
    let server = Server::new().await;
    let folder = tempfile::tempdir().unwrap();
    server.api.offer_backups(folder.path());
    let before = server.journal_lines().len();
    for identity in [Some(user("eve", &["developers"])), None, Some(admin())] {
        read_bytes(&server, identity).await;
    }
    let lines = server.journal_lines();
    assert_eq!(
        lines[before..],
        [
            "user:eve get /backup Denied 403",
            "anonymous get /backup Denied 401",
            "user:admin get /backup Allowed 200",
        ]
    );
    assert_eq!(names(folder.path()), [""; 0]);
}

async fn read_bytes(server: &Server, identity: Option<clos_auth::Identity>) {
    let answer = server
        .open(identity, "GET", "/backup", &[], Body::empty())
        .await;
    answer.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn a_backup_that_cannot_be_made_is_said_so_and_the_server_goes_on() {
    let server = Server::new().await;
    let answer = server.get("/backup").await;
    assert_eq!(
        answer.failure(),
        "503 ServiceUnavailable: this server makes no backups"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-folder");
    std::fs::write(&file, "").unwrap();
    server.api.offer_backups(&file);
    let answer = server.get("/backup").await;
    let said = answer.failure();
    assert!(
        said.starts_with("503 ServiceUnavailable: no backup could be made: ")
            && said.contains("no-folder"),
        "{said}"
    );
    let made = server
        .post(
            WIDGETS,
            &json!({ "metadata": { "name": "after" }, "spec": { "size": 1 } }),
        )
        .await;
    assert_eq!(made.code, 201);
}

#[tokio::test]
async fn a_backup_is_only_read() {
    let server = Server::new().await;
    let folder = tempfile::tempdir().unwrap();
    server.api.offer_backups(folder.path());
    for method in ["POST", "PUT", "DELETE", "HEAD"] {
        let answer = server
            .open(Some(admin()), method, "/backup", &[], Body::empty())
            .await;
        assert_eq!(read(answer).await.code, 405, "{method}");
    }
}
