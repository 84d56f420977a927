//! Reads a folder of manifests as it is at one moment. Not here: what stands in the files (`manifest`) and when to look again.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::manifest::{MAX_FILE_BYTES, Manifests, Mistake};

/// How often a file that changes while it is read is read again.
const READS: usize = 5;

/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 32;

/// How many files are read.
const MAX_FILES: usize = 10_000;

/// The files of one or more folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    files: BTreeMap<PathBuf, Vec<u8>>,
    unreadable: Vec<Mistake>,
}

/// Why a file's content is not known.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("has more than {} MiB; split it", MAX_FILE_BYTES / 1024 / 1024)]
    TooLarge,
    #[error("is being written to")]
    Changing,
}

impl Scan {
    /// Reads the named files, whatever their names end in, and everything below the named folders whose name ends in `.yaml`,
    /// `.yml` or `.json`. Names that begin with a dot are passed over: editors' temporary files, and what a mounted `ConfigMap`
    /// keeps behind its links.
    pub fn of<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut scan = Self::default();
        for path in paths {
            let path = path.as_ref();
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => scan.folder(path, &mut Vec::new()),
                Ok(_) => scan.file(path),
                Err(error) => scan.unreadable(path, &error),
            }
        }
        scan
    }

    /// How many files were read.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// What could not be read. A set that lacks a file must not be taken for a whole one.
    pub fn unreadable_files(&self) -> &[Mistake] {
        &self.unreadable
    }

    /// A digest of all names and contents, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (path, content) in &self.files {
            for part in [path.as_os_str().as_encoded_bytes(), content.as_slice()] {
                digest.update(part.len().to_le_bytes());
                digest.update(part);
            }
        }
        format!("{:x}", digest.finalize())
    }

    /// What stands in the files; files that could not be read are mistakes, and empty ones as well: whoever writes a file anew
    /// empties it first, and may get no further.
    pub fn manifests(&self) -> Manifests {
        let mut manifests = Manifests {
            mistakes: self.unreadable.clone(),
            ..Manifests::default()
        };
        for (path, content) in &self.files {
            if content.trim_ascii().is_empty() {
                let message = "is empty; remove the file if what it declared shall go";
                manifests.mistakes.push(Mistake::of_file(path, message));
            }
            manifests.read(path, content);
        }
        manifests
    }

    /// `ancestors` are the real paths of the folders around this one: a link back to one of them would never end.
    fn folder(&mut self, folder: &Path, ancestors: &mut Vec<PathBuf>) {
        let real = match folder.canonicalize() {
            Ok(real) => real,
            Err(error) => return self.unreadable(folder, &error),
        };
        if ancestors.contains(&real) {
            return;
        }
        if ancestors.len() == MAX_DEPTH {
            return self.unreadable(folder, &format!("lies more than {MAX_DEPTH} folders deep"));
        }
        let entries = fs::read_dir(folder).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(folder, &error),
        };
        entries.sort();
        ancestors.push(real);
        for path in entries {
            if is_hidden(&path) {
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.folder(&path, ancestors),
                Ok(_) if is_manifest(&path) => self.file(&path),
                // A link that leads nowhere may be one that is just being replaced.
                Err(error) if is_manifest(&path) => self.unreadable(&path, &error),
                Ok(_) | Err(_) => {}
            }
        }
        ancestors.pop();
    }

    fn file(&mut self, path: &Path) {
        if self.files.len() == MAX_FILES {
            return self.unreadable(
                path,
                &format!("is one too many: at most {MAX_FILES} files are read"),
            );
        }
        match read(path) {
            Ok(content) => drop(self.files.insert(path.to_path_buf(), content)),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, why: &dyn std::fmt::Display) {
        self.unreadable
            .push(Mistake::of_file(path, format!("cannot be read: {why}")));
    }
}

/// Reads a file whole. One that changes meanwhile is read again: half of it would be another declaration.
fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    for _ in 0..READS {
        let mut file = File::open(path)?;
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(
                io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file").into(),
            );
        }
        let mut content = Vec::new();
        file.by_ref()
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut content)?;
        if u64::try_from(content.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
            return Err(ReadError::TooLarge);
        }
        // By its name, because another file may have taken its place.
        let after = fs::metadata(path)?;
        if is_same(&before, &after)
            && u64::try_from(content.len()).is_ok_and(|length| length == after.len())
        {
            return Ok(content);
        }
    }
    Err(ReadError::Changing)
}

fn is_same(before: &Metadata, after: &Metadata) -> bool {
    before.len() == after.len()
        && matches!((before.modified(), after.modified()), (Ok(before), Ok(after)) if before == after)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(scan: &Scan, root: &Path) -> Vec<String> {
        scan.files
            .keys()
            .map(|path| path.strip_prefix(root).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn manifests_are_found_in_all_folders_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        for name in [
            "web.yaml",
            "a/db.yml",
            "a/b/x.JSON",
            "README.md",
            ".web.yaml.swp",
            ".hidden.yaml",
            "web.yaml~",
            ".git/y.yaml",
            "#web.yaml#",
            ".#web.yaml",
        ] {
            fs::write(root.join(name), name).unwrap();
        }
        let scan = Scan::of([root]);
        assert_eq!(names(&scan, root), ["a/b/x.JSON", "a/db.yml", "web.yaml"]);
        assert_eq!(scan.unreadable_files(), []);
    }

    #[test]
    fn links_are_followed_as_a_mounted_config_map_has_them_and_never_in_circles() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("..1")).unwrap();
        fs::write(root.join("..1/web.yaml"), "a: 1").unwrap();
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/web.yaml", root.join("web.yaml")).unwrap();
        symlink(".", root.join("circle")).unwrap();
        let scan = Scan::of([root]);
        assert_eq!(names(&scan, root), ["web.yaml"]);
        assert_eq!(scan.unreadable_files(), []);
    }

    #[test]
    fn i8_what_cannot_be_read_is_told_and_not_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        symlink("nowhere.yaml", root.join("web.yaml")).unwrap();
        fs::write(
            root.join("large.yaml"),
            vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1],
        )
        .unwrap();
        let scan = Scan::of([root.to_path_buf(), root.join("absent")]);
        let told: Vec<String> = scan
            .unreadable_files()
            .iter()
            .map(|mistake| {
                mistake
                    .to_string()
                    .replace(&root.display().to_string(), "DIR")
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn the_digest_tells_contents_and_names_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        fs::write(&path, "a: 1").unwrap();
        let one = Scan::of([folder.path()]).digest();
        assert_eq!(Scan::of([folder.path()]).digest(), one);
        fs::write(&path, "a: 2").unwrap();
        let other = Scan::of([folder.path()]).digest();
        assert_ne!(other, one);
        fs::rename(&path, folder.path().join("b.yaml")).unwrap();
        assert_ne!(Scan::of([folder.path()]).digest(), other);
    }
}
