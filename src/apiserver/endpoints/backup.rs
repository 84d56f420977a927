//! `/backup`: the whole store at one revision, as a file. It holds the values of Secrets, so each one that is given out is recorded. How it
//! is made is the store's business.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clos_store::{Backup, BackupError, Store};
use clos_telemetry::Chain;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use crate::State;
use crate::audit;
use crate::caller::Caller;
use crate::status::ApiError;

/// The digest of the whole answer, as RFC 9530 has it.
const DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// A copy of the store that has no name any more: it is gone when it is closed, and when the process is.
struct Spooled {
    file: File,
    backup: Backup,
    digest: String,
}

#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("cannot make the folder {}", folder.display())]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the copy of the store cannot be read")]
    Read(#[from] io::Error),
}

/// Makes a copy and answers it.
pub(super) async fn read(
    state: &State,
    caller: &Caller,
    method: &Method,
) -> Result<Response, ApiError> {
    if method != Method::GET {
        return Err(ApiError::method_not_allowed("", "/backup", method.as_str()));
    }
    let Some(folder) = state.backups.get().cloned() else {
        return Err(ApiError::unavailable("this server makes no backups"));
    };
    let store = state.storage.store().clone();
    let copied = tokio::task::spawn_blocking(move || copy(&store, &folder)).await;
    let copy = copied
        .map_err(ApiError::internal)?
        .map_err(|error| refused(&error))?;
    audit::exported(&state.journal, caller, "/backup", &words(&copy.backup))
        .await
        .map_err(|error| {
            ApiError::unavailable(format!("no backup without a record of it: {error}"))
        })?;
    let body = Body::from_stream(ReaderStream::with_capacity(
        tokio::fs::File::from_std(copy.file),
        64 << 10,
    ));
    let mut response = super::with_type(StatusCode::OK, body, "application/octet-stream");
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(copy.backup.bytes));
    if let Ok(digest) = HeaderValue::from_str(&copy.digest) {
        headers.insert(DIGEST, digest);
    }
    Ok(response)
}

/// A copy in `folder`, whose name is taken away as soon as it is open.
fn copy(store: &Store, folder: &Path) -> Result<Spooled, CopyError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| CopyError::Folder {
            folder: folder.to_owned(),
            source,
        })?;
    let path = folder.join(uuid::Uuid::from_bytes(rand::random()).to_string());
    let backup = store.backup(&path)?;
    let opened = File::open(&path);
    std::fs::remove_file(&path)?;
    let mut file = opened?;
    let mut digest = Sha256::new();
    let mut block = vec![0; 64 << 10];
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => digest.update(&block[..read]),
        }
    }
    file.rewind()?;
    Ok(Spooled {
        file,
        backup,
        digest: format!("sha-256=:{}:", STANDARD.encode(digest.finalize())),
    })
}

fn words(backup: &Backup) -> String {
    format!(
        "gave out a backup of revision {} with {} objects",
        backup.revision, backup.objects
    )
}

fn refused(error: &CopyError) -> ApiError {
    tracing::warn!(error = %Chain(error), "a backup could not be made");
    ApiError::unavailable(format!("no backup could be made: {}", Chain(error)))
}
