//! Files that hold keys and credentials: written whole, private from their first byte. What
//! stands in them is not decided here.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file could not be replaced; the former one, if any, is untouched.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}", path = path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Replaces the file at `path` by `bytes`, readable by its owner only (mode 0600). A reader, and
/// a machine that lost power, sees the old content or the new one, never a part. Missing parent
/// folders are made with mode 0700.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_whole(path, bytes, 0o600)
}

pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    replace(path, bytes, mode).map_err(|source| WriteError {
        path: path.to_owned(),
        source,
    })
}

/// The permission bits of the file at `path`.
pub(crate) fn mode_of(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".clos-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Asked for when the file is made, the mode would still pass the umask.
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The rename is durable only when its folder is.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::{mode_of, write_private, write_whole};

    #[test]
    fn a_private_file_and_its_new_folders_are_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config/clos/kubeconfig");
        write_private(&path, b"secret").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(mode_of(&path).unwrap(), 0o600);
        assert_eq!(mode_of(&home.path().join("config/clos")).unwrap(), 0o700);
        assert_eq!(mode_of(&home.path().join("config")).unwrap(), 0o700);
    }

    #[test]
    fn replacing_a_readable_file_closes_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kubeconfig");
        write_whole(&path, b"old", 0o644).unwrap();
        assert_eq!(mode_of(&path).unwrap(), 0o644);
        write_private(&path, b"new").unwrap();
        assert_eq!(mode_of(&path).unwrap(), 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let left = fs::read_dir(home.path()).unwrap().count();
        assert_eq!(left, 1, "a temporary file was left behind");
    }

    #[test]
    fn a_link_is_replaced_and_what_it_points_to_is_untouched() {
        let home = tempfile::tempdir().unwrap();
        let other = home.path().join("other");
        let path = home.path().join("key");
        fs::write(&other, b"theirs").unwrap();
        symlink(&other, &path).unwrap();
        write_private(&path, b"ours").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"theirs");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn a_folder_that_is_a_file_is_named_in_the_error() {
        let home = tempfile::tempdir().unwrap();
        let blocker = home.path().join("file");
        fs::write(&blocker, b"").unwrap();
        let path = blocker.join("key");
        let error = write_private(&path, b"x").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot write {}", path.display())
        );
    }
}
