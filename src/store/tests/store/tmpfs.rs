//! A real disk that is small: a file system in memory, mounted for one test.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Unmounted when it is dropped.
pub(crate) struct Tmpfs(TempDir);

impl Tmpfs {
    /// `None` where this process may not mount, e.g. when it is not root.
    pub(crate) fn mount(megabytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0700")])
            .arg("clos-store-test")
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if mounted {
            return Some(Self(dir));
        }
        #[expect(
            clippy::print_stdout,
            reason = "a test that was skipped says so, to whoever asks for its output"
        )]
        {
            println!("skipped: this process cannot mount a file system");
        }
        None
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        // Open files must not keep it for ever.
        if !unmounted.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }
}
