//! The last lines of a container that ended by a fault: read once, without secrets, short enough for a sentence. When they are wanted is
//! planning's.

use std::collections::VecDeque;
use std::time::Duration;

use clos_engine::Error;
use clos_engine::logs::{LogLine, LogOptions};
use clos_plan::instance::Unheard;
use clos_plan::observed::EngineView;
use futures::StreamExt;
use tokio::time::timeout;

use super::Agent;

/// How long the engine is given to show them: a pass does not wait for long for what only explains.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many are read. A secret of several lines is recognised as a whole only.
const READ: u32 = 100;

/// A line that is longer is left out, and so is the next one, which may be its rest: a part of a secret is not recognised.
const LONGEST_READ: usize = 16 << 10;

/// So many are told.
const TOLD: usize = 3;

/// So much of each, in bytes.
const LONGEST_TOLD: usize = 160;

impl Agent {
    /// Adds a container's last lines to what the engine showed. When they cannot be read, there are none: nothing depends on them.
    pub(super) async fn listen(&self, view: &mut EngineView, wanted: &Unheard) {
        let container = wanted.container.as_str();
        let EngineView::Known(observed) = view else {
            return;
        };
        let options = LogOptions {
            follow: false,
            tail: Some(READ),
            since: wanted.since,
        };
        let mut lines = self.executor.engine.logs(container, options);
        let mut tail = Tail::default();
        let reading = async {
            while let Some(line) = lines.next().await {
                tail.take(line?);
            }
            Ok::<(), Error>(())
        };
        let said = match timeout(PATIENCE, reading).await {
            Ok(Ok(())) => shortened(&tail.text(), |text| self.redactor.mask(text).into_owned()),
            Ok(Err(error)) => {
                tracing::debug!(container, %error, "cannot read a container's last lines");
                Vec::new()
            }
            Err(_) => {
                tracing::debug!(container, "a container's last lines came too late");
                Vec::new()
            }
        };
        observed.last_lines.insert(container.to_owned(), said);
    }
}

/// What was read, whole lines only.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    /// Whether the next line may be the rest of one that is too long, by stream.
    rest: [bool; 2],
}

impl Tail {
    fn take(&mut self, line: LogLine) {
        let rest = &mut self.rest[usize::from(line.stderr)];
        let long = line.text.len() > LONGEST_READ;
        if !std::mem::replace(rest, long) && !long {
            self.lines.push_back(line.text);
        }
        // The engine was asked for no more.
        if self.lines.len() > READ as usize {
            self.lines.pop_front();
        }
    }

    fn text(self) -> String {
        Vec::from(self.lines).join("\n")
    }
}

/// The last lines that say something, without secrets. Masked while they are whole: once as they were written, once as they are read, because
/// colours may stand between a secret's letters.
fn shortened(text: &str, mask: impl Fn(&str) -> String) -> Vec<String> {
    let text = mask(&readable(&mask(text)));
    let said = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut last: Vec<String> = said.rev().take(TOLD).map(cut).collect();
    last.reverse();
    last
}

fn cut(line: &str) -> String {
    if line.len() <= LONGEST_TOLD {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(LONGEST_TOLD);
    format!("{}…", &line[..end])
}

/// Without what moves a cursor, colours, or turns the direction of text; lines stay lines.
fn readable(text: &str) -> String {
    let mut readable = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => readable.push('\n'),
            '\t' | '\r' => readable.push(' '),
            '\u{1b}' => match chars.next() {
                Some('[') => skip_control(&mut chars),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                // Some more characters, and one that ends them.
                Some(' '..='/') => drop(chars.find(|c| !matches!(c, ' '..='/'))),
                Some(_) | None => {}
            },
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => readable.push(c),
        }
    }
    readable
}

type Chars<'t> = std::iter::Peekable<std::str::Chars<'t>>;

/// Parameters, and the letter that ends them.
fn skip_control(chars: &mut Chars<'_>) {
    while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    chars.next_if(|c| matches!(c, '@'..='~'));
}

/// A title or the like, up to its end; never beyond the line, because the end may be missing.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if(|c| *c == '\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clos_audit::Redactor;

    use super::*;

    const SECRET: &str = "correct-horse-battery";

    fn told(text: &str) -> Vec<String> {
        let redactor = Redactor::default();
        redactor.remember(
            "Secret shop/db",
            [SECRET, "first line\nsecond line\nthird line"],
        );
        shortened(text, |text| redactor.mask(text).into_owned())
    }

    fn line(text: &str) -> LogLine {
        LogLine {
            at: None,
            stderr: false,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_last_three_lines_that_say_something_are_told_in_order() {
        assert_eq!(told("a\nb\n\n  c\nd  \n \n"), ["b", "c", "d"]);
        assert_eq!(told(" \n\n"), [""; 0]);
    }

    #[test]
    fn colours_titles_and_other_control_characters_are_taken_out() {
        let text =
            "\u{1b}[1;31mpanic\u{1b}[0m:\tno \u{1b}]0;title\u{7}config\u{1b}(B\u{0}\u{202e}\r";
        assert_eq!(told(text), ["panic: no config"]);
        assert_eq!(told("\u{1b}]0;never ended\nnext\u{1b}["), ["next"]);
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters() {
        let lines = told(&"ü".repeat(500));
        assert_eq!(lines, [format!("{}…", "ü".repeat(80))]);
        let all = told(&format!("{0}\n{0}\n{0}\n{0}", "x".repeat(5000)));
        assert!(all.concat().len() <= 500, "{all:?}");
    }

    #[test]
    fn i9_a_secret_at_a_cut_between_colours_or_over_several_lines_is_masked_whole() {
        let cut = told(&format!("{}{SECRET}", "x".repeat(LONGEST_TOLD - 8)));
        assert!(!cut[0].contains("correct"), "{cut:?}");
        let coloured = told("the key is correct-\u{1b}[1mhorse-battery\u{1b}[0m");
        assert_eq!(coloured, ["the key is [redacted]"]);
        let several = told("key:\nfirst line\nsecond line\nthird line\n");
        assert_eq!(several, ["key:", "[redacted]"]);
    }

    #[test]
    fn i9_nothing_of_a_line_that_is_too_long_to_be_read_whole_is_told() {
        let mut tail = Tail::default();
        tail.take(line("before"));
        tail.take(line(&format!("{}corr", "x".repeat(LONGEST_READ))));
        tail.take(line("ect-horse-battery"));
        tail.take(line("after"));
        assert_eq!(tail.text(), "before\nafter");
    }
}
