//! Which process of this host listens on a port, as far as the kernel shows it. Ports of containers are not here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The tables and the state in which a socket of each waits: `LISTEN` of TCP, unconnected of UDP.
const TABLES: [(&str, &str); 4] = [
    ("net/tcp", "0A"),
    ("net/tcp6", "0A"),
    ("net/udp", "07"),
    ("net/udp6", "07"),
];

/// The processes that listen on a port, as `process nginx (pid 812)`. Empty when none does, or when the kernel shows none.
pub(super) async fn of_port(port: u16) -> Vec<String> {
    // Best effort: a hint for people, so a panic or an unreadable table is no answer.
    tokio::task::spawn_blocking(move || search(Path::new("/proc"), port))
        .await
        .unwrap_or_default()
}

fn search(proc: &Path, port: u16) -> Vec<String> {
    let mut inodes = BTreeSet::new();
    for (table, state) in TABLES {
        // Without IPv6 some tables are missing.
        let text = fs::read_to_string(proc.join(table)).unwrap_or_default();
        inodes.extend(
            text.lines()
                .skip(1)
                .filter_map(|line| inode_of_listener(line, state, port)),
        );
    }
    if inodes.is_empty() {
        return Vec::new();
    }
    let processes: Vec<u32> = entries(proc).filter_map(|name| name.parse().ok()).collect();
    let mut found: Vec<u32> = processes
        .into_iter()
        .filter(|pid| holds(&proc.join(pid.to_string()), &inodes))
        .collect();
    found.sort_unstable();
    if found.is_empty() {
        return vec!["a process that clos may not see".to_owned()];
    }
    found
        .into_iter()
        .map(|pid| {
            let name =
                fs::read_to_string(proc.join(pid.to_string()).join("comm")).unwrap_or_default();
            format!("process {} (pid {pid})", name.trim())
        })
        .collect()
}

/// The socket's inode, when the line of a table is a listener on the port.
fn inode_of_listener(line: &str, state: &str, port: u16) -> Option<u64> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
    let matches = columns.get(3) == Some(&state) && u16::from_str_radix(local_port, 16) == Ok(port);
    if matches {
        columns.get(9)?.parse().ok()
    } else {
        None
    }
}

fn holds(process: &Path, inodes: &BTreeSet<u64>) -> bool {
    let descriptors = process.join("fd");
    entries(&descriptors).any(|name| {
        let link = fs::read_link(descriptors.join(name)).unwrap_or_default();
        let socket = link
            .to_str()
            .and_then(|link| link.strip_prefix("socket:["))
            .and_then(|link| link.strip_suffix(']'));
        socket
            .and_then(|inode| inode.parse().ok())
            .is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

/// The names in a folder; none when it cannot be read or is gone.
fn entries(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[tokio::test]
    async fn the_process_that_listens_on_a_port_is_named_with_its_pid() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = of_port(listener.local_addr().unwrap().port()).await;
        let pid = format!("(pid {})", std::process::id());
        assert!(
            found
                .iter()
                .any(|process| process.starts_with("process ") && process.ends_with(&pid)),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn a_process_that_takes_datagrams_is_found_too() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_ne!(
            of_port(socket.local_addr().unwrap().port()).await,
            Vec::<String>::new()
        );
    }

    #[test]
    fn only_listeners_of_the_port_count() {
        let listener = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        let connection = listener.replace(" 0A ", " 01 ");
        assert_eq!(inode_of_listener(listener, "0A", 8080), Some(4711));
        assert_eq!(inode_of_listener(listener, "0A", 8081), None);
        assert_eq!(inode_of_listener(&connection, "0A", 8080), None);
        assert_eq!(inode_of_listener("half a", "0A", 8080), None);
    }
}
