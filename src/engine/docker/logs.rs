//! The output of a container, from frames to lines. What is done with them is not here.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;

use super::DockerEngine;
use super::failure::Call;
use crate::error::Error;
use crate::logs::{LogLine, LogOptions};

/// A line that does not end is given out in pieces of this many bytes, so that no program fills our memory with one.
const LONGEST: usize = 1 << 20;

/// Reads lines, until the container ends when following.
pub(super) fn read(
    engine: DockerEngine,
    container: String,
    options: LogOptions,
) -> BoxStream<'static, Result<LogLine, Error>> {
    let started = async move {
        match start(&engine, &container, options).await {
            Err(error) => stream::iter([Err(error)]).boxed(),
            Ok(lines) => lines,
        }
    };
    stream::once(started).flatten().boxed()
}

async fn start(
    engine: &DockerEngine,
    container: &str,
    options: LogOptions,
) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
    let call = Call::new(format!("read the output of container {container}"));
    // Following may bring nothing for hours: whether the engine answers is asked by another call, which has a deadline.
    if options.follow && engine.inspect(container).await?.is_none() {
        return Err(Error::NotFound(format!("No such container: {container}")));
    }
    let query = LogsOptions {
        follow: options.follow,
        stdout: true,
        stderr: true,
        // Whole seconds here, the rest below.
        since: options
            .since
            .and_then(|since| i32::try_from(since.as_second()).ok())
            .unwrap_or_default(),
        until: 0,
        timestamps: true,
        tail: options
            .tail
            .map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
    };
    let client = engine.client(&call).await?;
    let frames = client.logs(container, Some(query)).boxed();
    let address = engine.address.clone();
    let silence = if options.follow {
        Duration::MAX
    } else {
        call.deadline
    };
    let reading = Some((frames, Lines::default()));
    let lines = stream::unfold(reading, move |reading| {
        let (call, address) = (call.clone(), address.clone());
        async move {
            let (mut frames, mut lines) = reading?;
            let batch = match tokio::time::timeout(silence, frames.next()).await {
                Err(_) => return Some((vec![Err(call.late())], None)),
                Ok(Some(Err(error))) => {
                    return Some((vec![Err(call.failed(&address, &error))], None));
                }
                Ok(None) => return Some((lines.finish().into_iter().map(Ok).collect(), None)),
                Ok(Some(Ok(frame))) => lines.take(&frame).into_iter().map(Ok).collect(),
            };
            Some((batch, Some((frames, lines))))
        }
    });
    let wanted = move |line: &Result<LogLine, Error>| match (line, options.since) {
        (Ok(LogLine { at: Some(at), .. }), Some(since)) => *at > since,
        (Ok(_) | Err(_), _) => true,
    };
    Ok(lines
        .flat_map(stream::iter)
        .filter(move |line| std::future::ready(wanted(line)))
        .boxed())
}

/// Lines that did not end yet.
#[derive(Debug, Default)]
struct Lines {
    stdout: Option<Unfinished>,
    stderr: Option<Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    at: Option<Timestamp>,
    bytes: Vec<u8>,
}

impl Lines {
    /// The lines that a frame ends. The engine cuts long lines into frames and writes the time before each.
    fn take(&mut self, frame: &LogOutput) -> Vec<LogLine> {
        let (stderr, bytes) = match frame {
            LogOutput::StdErr { message } => (true, message),
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => (false, message),
        };
        let unfinished = if stderr {
            &mut self.stderr
        } else {
            &mut self.stdout
        };
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (at, text) = timed(piece);
            let mut line = unfinished.take().unwrap_or(Unfinished {
                at,
                bytes: Vec::new(),
            });
            line.bytes.extend_from_slice(text);
            if line.bytes.ends_with(b"\n") || line.bytes.len() >= LONGEST {
                lines.push(line.end(stderr));
            } else {
                *unfinished = Some(line);
            }
        }
        lines
    }

    /// What is left at the end.
    fn finish(&mut self) -> Vec<LogLine> {
        let stdout = self.stdout.take().map(|line| line.end(false));
        let stderr = self.stderr.take().map(|line| line.end(true));
        stdout.into_iter().chain(stderr).collect()
    }
}

impl Unfinished {
    fn end(self, stderr: bool) -> LogLine {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        LogLine {
            at: self.at,
            stderr,
            text: text.to_owned(),
        }
    }
}

/// Splits the time off that the engine wrote before a piece.
fn timed(piece: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let end = piece.iter().position(|byte| *byte == b' ');
    let time = end
        .and_then(|end| std::str::from_utf8(&piece[..end]).ok())
        .and_then(|time| time.parse().ok());
    match (time, end) {
        (Some(time), Some(end)) => (Some(time), &piece[end + 1..]),
        _ => (None, piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut {
            message: text.to_owned().into(),
        }
    }

    fn err(text: &str) -> LogOutput {
        LogOutput::StdErr {
            message: text.to_owned().into(),
        }
    }

    fn texts(lines: &[LogLine]) -> Vec<(bool, &str)> {
        lines
            .iter()
            .map(|line| (line.stderr, line.text.as_str()))
            .collect()
    }

    #[test]
    fn a_line_is_split_off_its_time() {
        let lines = Lines::default().take(&out("2026-11-23T09:31:02.512345678Z hello world\n"));
        assert_eq!(
            lines[0].at,
            Some("2026-11-23T09:31:02.512345678Z".parse().unwrap())
        );
        assert_eq!(texts(&lines), [(false, "hello world")]);
    }

    #[test]
    fn a_long_line_in_several_frames_is_one_line_with_the_first_time() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(&out("2026-11-23T09:31:02Z first ")), []);
        assert_eq!(
            texts(&lines.take(&err("2026-11-23T09:31:02Z between\n"))),
            [(true, "between")]
        );
        let whole = lines.take(&out("2026-11-23T09:31:03Z second\n"));
        assert_eq!(texts(&whole), [(false, "first second")]);
        assert_eq!(whole[0].at, Some("2026-11-23T09:31:02Z".parse().unwrap()));
    }

    #[test]
    fn several_lines_in_one_frame_are_several_lines() {
        let lines =
            Lines::default().take(&out("2026-11-23T09:31:02Z a\r\n2026-11-23T09:31:02Z b\n\n"));
        assert_eq!(texts(&lines), [(false, "a"), (false, "b"), (false, "")]);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(&out("2026-11-23T09:31:02Z bye")), []);
        assert_eq!(texts(&lines.finish()), [(false, "bye")]);
        assert_eq!(lines.finish(), []);
    }

    #[test]
    fn a_line_without_end_is_given_out_in_pieces() {
        let mut lines = Lines::default();
        let endless = out(&"x".repeat(LONGEST / 2));
        assert_eq!(lines.take(&endless), []);
        assert_eq!(lines.take(&endless).len(), 1);
        assert_eq!(lines.finish(), []);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let frame = LogOutput::StdOut {
            message: vec![b'a', 0xff, b'\n'].into(),
        };
        assert_eq!(
            texts(&Lines::default().take(&frame)),
            [(false, "a\u{fffd}")]
        );
    }
}
