//! Programs that tests run: what they must print, signals, output line by line. Which clos is tested is decided here.

use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::mpsc;

/// Lines of a program's standard output, as they come.
pub type Lines = mpsc::Receiver<String>;

/// The root of the sources, for scripts and examples.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The clos that was built together with the running test: beside it, or one folder above.
pub(crate) fn clos_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("clos"))
        .find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("no clos beside {}: build it first", test.display()))
}

/// The kubectl that `make test` found or built; the one on the PATH when the tests are run by hand.
#[expect(
    clippy::disallowed_methods,
    reason = "how make test says which kubectl to use"
)]
pub fn kubectl_program() -> String {
    std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned())
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "cannot send {name} to {pid}");
}

/// Standard output of a command that must have succeeded.
pub fn succeeded(arguments: &[impl Debug], output: Output) -> String {
    assert!(
        output.status.success(),
        "{arguments:?} failed with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a command whose standard output is piped, and gives that line by line.
pub fn spawn(mut command: Command) -> (Child, Lines) {
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    (child, lines)
}
