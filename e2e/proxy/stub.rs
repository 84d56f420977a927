//! An engine of a few lines that notes what it is asked and streams what it is told, and a client that sees bytes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Proxy;

/// The engine.
pub(crate) struct Stub {
    folder: TempDir,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Paths with their queries, and bodies.
    requests: Vec<(String, String)>,
    /// What streams were told so far, for those that connect later.
    told: String,
    streams: Vec<UnixStream>,
    ended: bool,
}

impl Stub {
    pub(crate) fn start() -> Self {
        let stub = Self {
            folder: tempfile::tempdir().unwrap(),
            state: Arc::default(),
        };
        let listener = UnixListener::bind(stub.socket()).unwrap();
        let state = Arc::clone(&stub.state);
        // It ends with the process: nothing is left to do in it.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&state);
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        stub
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// How often this path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        let state = self.state.lock().unwrap();
        let same = state.requests.iter().filter(|(asked, _)| asked == path);
        same.count()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .map(|(_, body)| body.clone())
            .collect()
    }

    /// Sends a line on all streams.
    pub(crate) fn tell(&self, line: &str) {
        let mut state = self.state.lock().unwrap();
        state.told.push_str(&chunk(line));
        for stream in &mut state.streams {
            let _ = stream.write_all(chunk(line).as_bytes());
        }
    }

    /// Ends all streams, properly.
    pub(crate) fn end_streams(&self) {
        let mut state = self.state.lock().unwrap();
        state.ended = true;
        for mut stream in state.streams.drain(..) {
            let _ = stream.write_all(b"0\r\n\r\n");
        }
    }
}

fn chunk(line: &str) -> String {
    format!("{:x}\r\n{line}\n\r\n", line.len() + 1)
}

fn answer(mut stream: UnixStream, state: &Mutex<State>) {
    let (head, body) = read_request(&mut stream);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    state.requests.push((path.clone(), body));
    if path.contains("/events") || path.contains("/logs") {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(format!("{head}{}", state.told).as_bytes());
        if state.ended {
            let _ = stream.write_all(b"0\r\n\r\n");
        } else {
            state.streams.push(stream);
        }
        return;
    }
    let (status, body) = if path.contains("/create") {
        (201, r#"{"Id":"1"}"#)
    } else {
        (200, "OK")
    };
    let length = body.len();
    let text = format!("HTTP/1.1 {status} So\r\nContent-Length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(text.as_bytes());
}

fn read_request(stream: &mut UnixStream) -> (String, String) {
    let mut text = String::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part).unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&part[..length]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(length > 0, "half a request: {text}");
            continue;
        };
        let lower = head.to_lowercase();
        let wanted = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= wanted.unwrap_or(0) {
            return (head.to_owned(), body.to_owned());
        }
    }
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 when there was none.
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Whether the body ended as announced.
    pub(crate) whole: bool,
}

/// Sends a request and leaves the answer to the caller.
pub(crate) fn send(proxy: &Proxy, (method, path): (&str, &str)) -> UnixStream {
    let mut stream = UnixStream::connect(proxy.socket()).unwrap();
    let body = if method == "POST" {
        "what is to be made"
    } else {
        ""
    };
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

pub(crate) fn ask(proxy: &Proxy, request: (&str, &str)) -> Answer {
    read_answer(send(proxy, request))
}

/// Asks, and gives the answer when it is there.
pub(crate) fn ask_aside(proxy: &Proxy, request: (&str, &str)) -> mpsc::Receiver<Answer> {
    let stream = send(proxy, request);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(read_answer(stream)));
    receiver
}

/// Reads until this was sent, and gives everything so far.
pub(crate) fn read_until(stream: &mut UnixStream, end: &str) -> String {
    let mut text = String::new();
    let mut part = [0; 4096];
    while !text.contains(end) {
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "it ended before {end:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    text
}

fn read_answer(mut stream: UnixStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is reset has given what it has given.
    let _ = stream.read_to_end(&mut bytes);
    let _ = stream.shutdown(Shutdown::Both);
    let text = String::from_utf8(bytes).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Answer {
            status: 0,
            body: text,
            whole: false,
        };
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let (body, whole) = match length {
        Some(length) => (body.to_owned(), body.len() == length),
        None if lower.contains("chunked") => unchunked(body),
        None => (body.to_owned(), true),
    };
    Answer {
        status,
        body,
        whole,
    }
}

fn unchunked(mut body: &str) -> (String, bool) {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (text, true);
        }
        text.push_str(&rest[..size.min(rest.len())]);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    (text, false)
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "in vain: {what}");
        std::thread::yield_now();
    }
}
