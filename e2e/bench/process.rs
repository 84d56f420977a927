//! What processes cost, read from /proc: processor time, memory, the machine's load. Only what the kernel counts is here.

use std::fs;

use anyhow::Context as _;
use tokio::net::UnixStream;

/// The kernel counts processor time for people in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processes of one kind, looked at together.
#[derive(Clone, Debug)]
pub(crate) struct Processes(Vec<u32>);

impl Processes {
    /// One process.
    pub(crate) fn one(pid: u32) -> Self {
        Self(vec![pid])
    }

    /// The engine that answers at a socket, with its containerd.
    pub(crate) async fn of_engine(address: &str) -> anyhow::Result<Self> {
        let path = address.trim_start_matches("unix://");
        let socket = UnixStream::connect(path).await;
        let socket = socket.with_context(|| format!("cannot connect to {path}"))?;
        let peer = socket.peer_cred().context("cannot ask who listens")?.pid();
        // Where systemd holds the socket, it is systemd that listens.
        let engines = Self::that(|process| process.command == "dockerd")?;
        let pid = peer
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| engines.0.contains(pid));
        let mut engine = pid.map_or(engines, Self::one);
        let containerd = Self::that(|process| {
            process.command == "containerd"
                && (engine.0.contains(&process.parent) || process.parent == 1)
        })?;
        engine.0.extend(containerd.0);
        Ok(engine)
    }

    fn that(is_meant: impl Fn(&Process) -> bool) -> anyhow::Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("cannot read /proc")? {
            let entry = entry.context("cannot read /proc")?;
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // Processes end while one looks.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            if Process::of(&stat).is_some_and(|process| is_meant(&process)) {
                found.push(pid);
            }
        }
        Ok(Self(found))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Processor time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let mut seconds = 0.0;
        for pid in &self.0 {
            let path = format!("/proc/{pid}/stat");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            seconds += cpu_seconds(&text).with_context(|| format!("cannot understand {path}"))?;
        }
        Ok(seconds)
    }

    /// Memory in use, in MiB.
    pub(crate) fn rss_mib(&self) -> anyhow::Result<f64> {
        let mut mib = 0.0;
        for pid in &self.0 {
            let path = format!("/proc/{pid}/status");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            mib += rss_mib(&text).with_context(|| format!("cannot understand {path}"))?;
        }
        Ok(mib)
    }
}

/// What tells processes apart.
#[derive(Debug, PartialEq, Eq)]
struct Process<'a> {
    command: &'a str,
    parent: u32,
}

impl<'a> Process<'a> {
    /// What the text of /proc/PID/stat says.
    fn of(stat: &'a str) -> Option<Self> {
        let (before, after) = stat.rsplit_once(')')?;
        Some(Self {
            command: before.split_once('(')?.1,
            parent: after.split_whitespace().nth(1)?.parse().ok()?,
        })
    }
}

/// The machine's load over 1, 5 and 15 minutes.
pub(crate) fn load() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// User and system time in the text of /proc/PID/stat.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The command stands in parentheses and may hold spaces and parentheses itself.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The resident memory in the text of /proc/PID/status.
fn rss_mib(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_user_and_system_time_whatever_the_command_is_called() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 9 20 0 8 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("42 (cut off) S 1"), None);
    }

    #[test]
    fn a_process_is_known_by_its_command_and_its_parent() {
        let expected = Process {
            command: "a) b (c",
            parent: 7,
        };
        assert_eq!(Process::of("42 (a) b (c) S 7 42"), Some(expected));
        assert_eq!(Process::of("42 (cut off"), None);
    }

    #[test]
    fn memory_is_what_is_resident() {
        assert_eq!(
            rss_mib("VmPeak:\t 9999 kB\nVmRSS:\t  20480 kB\n"),
            Some(20.0)
        );
        assert_eq!(rss_mib("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_is_found_and_has_a_size() {
        let own = Processes::one(std::process::id());
        assert!(own.rss_mib().unwrap() > 0.0);
        assert!(own.cpu_seconds().unwrap() >= 0.0);
        let named = Processes::that(|process| process.command == "no such command");
        assert!(named.unwrap().is_empty());
    }
}
