//! Processes to be killed: this test binary again, with one ignored test that does the work.

use std::io::{Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Starts the ignored test `name` in a process of its own, with a folder to work in.
pub(crate) fn start(name: &str, dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{}", dir.display()).unwrap();
    child
}

/// The folder the process was given; `None` when somebody runs the ignored tests by hand.
pub(crate) fn input() -> Option<PathBuf> {
    let mut dir = String::new();
    stdin().read_line(&mut dir).unwrap();
    let dir = dir.trim();
    (!dir.is_empty()).then(|| dir.into())
}
