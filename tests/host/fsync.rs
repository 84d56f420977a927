//! A disk that cannot write through: nothing is acknowledged that is not on it, and the server ends with a sentence.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clos_harness::{Server, Setup, WEB, wait_until, wait_until_within};

use crate::api::Api;
use crate::machine::strace;

/// A tracer of a running server that spoils some of its system calls.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Attaches to every thread of a server, with these arguments of `strace` beside `-f`.
    pub(crate) fn attach(server: &Server, arguments: &[&str]) -> Self {
        let pid = server.pid();
        let child = Command::new("strace")
            .args(["-qqq", "-f", "-o", "/dev/null"])
            .args(arguments)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("every thread is traced", || {
            // What is spoiled may end it before this looks for the first time.
            if has_ended(pid) {
                return Some(());
            }
            let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            let mut texts =
                threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")));
            let traced = |text: std::io::Result<String>| {
                text.is_ok_and(|text| !text.contains("TracerPid:\t0"))
            };
            texts.all(traced).then_some(())
        });
        Self(child)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Asked to, it lets go of the server; when that has ended and was not waited for, it would stay.
        clos_harness::signal(self.0.id(), "TERM");
        for _ in 0..40 {
            if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            let _ = Command::new("sleep").arg("0.05").status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process has ended, also when nobody has asked for its exit code yet.
fn has_ended(pid: u32) -> bool {
    !fs::exists(format!("/proc/{pid}/fd/0")).unwrap_or(false)
}

/// What a load of writes came to.
struct Written {
    acknowledged: Vec<String>,
    /// When the first write was not acknowledged, and the last one was.
    refused: Option<Instant>,
    last: Option<Instant>,
}

/// A flag that is raised when this is dropped, also by a panic: threads that wait for it end then.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Four clients write until the server has ended, which `meanwhile` waits for.
fn write_until_ended(api: &Api, meanwhile: impl FnOnce()) -> Written {
    let written = Mutex::new(Written {
        acknowledged: Vec::new(),
        refused: None,
        last: None,
    });
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (written, ended) = (&written, &ended);
            scope.spawn(move || {
                for number in 0.. {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("write-{client}-{number}");
                    let answer = api.put_config_map(&name, 100);
                    let mut written = written.lock().unwrap();
                    match answer {
                        Ok(answer) if answer.code == 201 => {
                            written.acknowledged.push(name);
                            written.last = Some(Instant::now());
                        }
                        Ok(_) | Err(_) => {
                            written.refused.get_or_insert_with(Instant::now);
                        }
                    }
                }
            });
        }
        let _ended = Raised(&ended);
        wait_until("writes go on", || {
            (written.lock().unwrap().acknowledged.len() >= 50).then_some(())
        });
        meanwhile();
    });
    written.into_inner().unwrap()
}

/// Spoils the server's syncs in a way, and checks that nothing acknowledged is lost and the end is a clean one.
fn spoiled(when: &str) {
    if !strace() {
        return;
    }
    let mut server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let before = server.inspect("web-0").unwrap();
    let api = Api::of(&server);
    let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
    let mut tracer = None;
    let written = write_until_ended(&api, || {
        tracer = Some(Tracer::attach(
            &server,
            &["-e", "trace=fsync,fdatasync", "-e", &inject],
        ));
        wait_until_within(Duration::from_secs(10), "the server ends", || {
            has_ended(server.pid()).then_some(())
        });
    });
    assert_eq!(server.until_ended(), 1);
    drop(tracer);
    let (refused, last) = (written.refused.unwrap(), written.last.unwrap());
    assert!(
        last < refused + Duration::from_secs(1),
        "a write was taken {:?} after one was refused",
        last - refused
    );
    let log = server.log();
    let sentence = log.lines().last().unwrap_or_default();
    assert!(sentence.starts_with("clos: "), "{log}");
    let file = server.data_dir().join("store.redb");
    assert!(sentence.contains(file.to_str().unwrap()), "{sentence}");
    assert!(sentence.contains("os error 5"), "{sentence}");
    assert!(!log.contains("panicked"), "{log}");

    server.launch();
    let api = Api::of(&server);
    let names = api.config_map_names();
    for name in &written.acknowledged {
        assert!(names.contains(name), "{name} was acknowledged and is gone");
    }
    server.until_ready("web");
    let after = server.inspect("web-0").unwrap();
    assert_eq!(before["State"]["StartedAt"], after["State"]["StartedAt"]);
}

#[test]
fn i5_a_sync_that_fails_once_acknowledges_nothing_and_ends_the_server_with_a_sentence() {
    spoiled("5");
}

#[test]
fn i5_syncs_that_fail_from_then_on_acknowledge_nothing_and_end_the_server_with_a_sentence() {
    spoiled("3+");
}

#[test]
fn a_first_start_on_a_disk_that_cannot_write_through_says_so_and_the_next_one_begins_anew() {
    if !strace() {
        return;
    }
    let mut server = Setup::new().file("web.yaml", WEB).prepare();
    for when in ["1", "2", "3", "4+"] {
        let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
        let trace = ["strace", "-D", "-qqq", "-f", "-o", "/dev/null"];
        let wrapper = [&trace[..], &["-e", "trace=fsync,fdatasync", "-e", &inject]].concat();
        server.set_wrapper(&wrapper);
        let mut command = server.command();
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "sync {when}: {said}");
        let sentence = said.trim().lines().last().unwrap_or_default();
        let data = server.data_dir();
        assert!(sentence.starts_with("clos: "), "sync {when}: {said}");
        assert!(
            sentence.contains(data.to_str().unwrap()),
            "sync {when}: {said}"
        );
        assert!(!said.contains("panicked"), "sync {when}: {said}");
    }
    server.set_wrapper(&[]);
    server.launch();
    server.until_ready("web");
}
