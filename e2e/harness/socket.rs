//! A GET over a unix socket, with as little of HTTP as it takes to look at an engine. What is asked is in `engine`.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The code and the JSON that were answered; an error in words when no whole answer came in time.
pub(crate) fn get(socket: &Path, path: &str, patience: Duration) -> Result<(u16, Value), String> {
    let failed = |why: &str| format!("GET {path} at {}: {why}", socket.display());
    let answer = exchange(socket, path, patience).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => failed(&format!("no whole answer in {patience:?}")),
        _ => failed(&error.to_string()),
    })?;
    parsed(&answer).ok_or_else(|| {
        failed(&format!(
            "not an answer: {}",
            String::from_utf8_lossy(&answer)
        ))
    })
}

fn exchange(socket: &Path, path: &str, patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut stream = UnixStream::connect(socket)?;
    // HTTP/1.0: the answer comes in one piece and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 8 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            // The first is how the kernel says that the time is over.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

fn parsed(answer: &[u8]) -> Option<(u16, Value)> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|window| window == END)?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_slice(&answer[end + END.len()..]).ok()?;
    Some((code, body))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use serde_json::json;

    use super::*;

    /// Asks somebody who takes one connection and says these pieces; then it is closed, or never.
    fn asked(pieces: &'static [&str], closes: bool) -> Result<(u16, Value), String> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /x?y HTTP/1.0\r\n"));
            for piece in pieces {
                stream.write_all(piece.as_bytes()).unwrap();
            }
            (!closes).then_some(stream)
        });
        let answer = get(&socket, "/x?y", Duration::from_millis(300));
        engine.join().unwrap();
        answer
    }

    #[test]
    fn an_answer_is_its_code_and_its_json_in_however_many_pieces_it_comes() {
        let answer = asked(
            &["HTTP/1.0 404 Not Fo", "und\r\nA: b\r\n\r\n{\"a\"", ":1}"],
            true,
        );
        assert_eq!(answer, Ok((404, json!({"a": 1}))));
    }

    #[test]
    fn an_answer_that_is_cut_or_does_not_come_in_time_is_an_error_that_says_so() {
        let cut = asked(&["HTTP/1.0 200 OK\r\n\r\n{\"a\""], true).unwrap_err();
        assert!(cut.contains("not an answer: HTTP/1.0 200 OK"), "{cut}");
        // Who never closes the connection keeps it until the thread's result is dropped.
        let late = asked(&["HTTP/1.0 200 OK\r\n\r\n{}"], false).unwrap_err();
        assert!(late.contains("no whole answer in 300ms"), "{late}");
        let nobody = get(Path::new("/nowhere.sock"), "/", Duration::from_secs(1)).unwrap_err();
        assert!(
            nobody.starts_with("GET / at /nowhere.sock: No such file"),
            "{nobody}"
        );
    }
}
