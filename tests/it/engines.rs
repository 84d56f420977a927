//! Engines of several versions: too old, too new, and what each tells of memory that ran out. That everything else is the same on all of
//! them is shown by running these tests on each.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use clos_harness::{Server, Setup, WEB, wait_until};

/// Starts a server on an engine that says only which versions of its API it speaks; gives the exit code and what was said.
fn served_by(oldest: &str, newest: &str) -> (Server, Option<i32>, String) {
    let server = Setup::new().prepare();
    let socket = server.scratch("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let body = format!(
        r#"{{"ApiVersion":"{newest}","MinAPIVersion":"{oldest}","Version":"0.0.1","Os":"linux","Arch":"amd64"}}"#
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // It ends with the process: nothing is left to do in it.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let output = server
        .command()
        .args(["--engine", &format!("unix://{}", socket.display())])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    (server, output.status.code(), error)
}

#[test]
fn an_engine_that_shares_no_version_is_refused_in_one_sentence_before_anything_is_written() {
    for (oldest, newest, sentence) in [
        (
            "1.12",
            "1.40",
            "the container engine speaks API 1.40, clos needs 1.41 or newer; upgrade the engine",
        ),
        (
            "1.90",
            "1.99",
            "the container engine speaks no API older than 1.90, this clos knows none newer than 1.51; upgrade clos",
        ),
    ] {
        let (server, code, error) = served_by(oldest, newest);
        assert_eq!(code, Some(1), "{error}");
        assert!(
            error.contains(sentence) && error.trim().lines().count() == 1,
            "{error}"
        );
        assert!(!server.data_dir().exists() && !server.kubeconfig().exists());
    }
}

#[test]
fn a_container_killed_for_memory_is_told_so() {
    let hungry = WEB
        .replace(
            r#"command: [sh, -c, "echo hello from web; exec sleep 3600"]"#,
            "command: [tail, /dev/zero]\n  resources: {limits: {memory: 8Mi}}",
        )
        .replace(
            "spec:\n  group",
            "spec:\n  restartPolicy: OnFailure\n  group",
        );
    let server = Server::start_with(&[("web.yaml", &hungry)], &[]);
    let message = wait_until("the end is told", || {
        let (_, _, message) = server.ready("csvc", "web");
        message.contains("memory").then_some(message)
    });
    assert!(
        message.contains("was killed for using more memory than its limit"),
        "{message}"
    );
}
