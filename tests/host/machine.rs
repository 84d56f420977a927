//! The machine under the server: mounts of a test's own, what a process uses, and what of this a machine can do at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clos_harness::wait_until_within;

/// Whether the tests run as root. Says what is skipped when they do not.
pub(crate) fn root(why: &str) -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    let root = output.stdout == b"0\n";
    if !root {
        println!("skipped: {why} needs root");
    }
    root
}

/// Whether this machine lets a program be traced. A machine without strace fails the test: it can be had.
pub(crate) fn strace() -> bool {
    let traced = Command::new("strace")
        .args(["-qq", "-e", "trace=none", "true"])
        .output()
        .expect("strace is not on the PATH; e2e/tools.sh faults installs it");
    if !traced.status.success() {
        println!(
            "skipped: this machine does not let a program be traced: {}",
            String::from_utf8_lossy(&traced.stderr).trim()
        );
    }
    traced.status.success()
}

/// A file system of a test's own, in memory. It is detached when dropped, whoever still uses it.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts one with these options, such as `size=32m`, at a folder that is made.
    pub(crate) fn tmpfs(at: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&at).unwrap();
        let mount = Self(at);
        mount.mount(&["-t", "tmpfs", "-o", options, "clos-host-test"]);
        mount
    }

    /// Changes its options.
    pub(crate) fn remount(&self, options: &str) {
        self.mount(&["-o", &format!("remount,{options}")]);
    }

    fn mount(&self, arguments: &[&str]) {
        let mut command = Command::new("mount");
        let output = command.args(arguments).arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Fills all its space with a file, and gives its path.
    pub(crate) fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.0.join("ballast");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        path
    }

    /// Takes all its inodes with empty files, and gives their folder.
    pub(crate) fn fill_inodes(&self) -> PathBuf {
        let folder = self.0.join("ballast");
        fs::create_dir(&folder).unwrap();
        let mut number = 0;
        while fs::write(folder.join(number.to_string()), "").is_ok() {
            number += 1;
        }
        folder
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// The processor time a process has used, to a hundredth of a second.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field, the program's name, may hold anything up to the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    let ticks: u64 = fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// How much of a processor a process uses, and what `count` counts meanwhile, over a length of time.
pub(crate) fn load(pid: u32, over: Duration, mut count: impl FnMut() -> f64) -> (f64, f64) {
    let (begun, used, counted) = (Instant::now(), cpu(pid), count());
    pass(over);
    let share = (cpu(pid).saturating_sub(used)).as_secs_f64() / begun.elapsed().as_secs_f64();
    (share, count() - counted)
}

/// Lets time pass in which something is measured.
pub(crate) fn pass(time: Duration) {
    let begun = Instant::now();
    wait_until_within(time * 2, "time has passed", || {
        (begun.elapsed() >= time).then_some(())
    });
}

/// The memory of a process that is in use, in megabytes.
pub(crate) fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes: f64 = line
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap();
    kilobytes / 1024.0
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The first path with this ending below a folder's folders.
pub(crate) fn library(ending: &str) -> Option<PathBuf> {
    let folders = fs::read_dir(Path::new("/usr/lib")).ok()?;
    folders
        .filter_map(|folder| Some(folder.ok()?.path().join(ending)))
        .find(|path| path.is_file())
}
