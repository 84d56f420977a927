//! Where waiting is shown: a line a subject with a spinner on a terminal, else one plain line a change. What to show is not decided here.

use std::collections::BTreeMap;
use std::time::Duration;

use console::{measure_text_width, style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::progress::{Progress, Standing};
use super::tracker::{Subject, Tracked};
use crate::output;

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// Where waiting is shown.
pub(crate) enum Board {
    /// Lines that change in place.
    Terminal {
        /// All lines.
        bars: MultiProgress,
        /// A line a subject.
        lines: BTreeMap<Subject, ProgressBar>,
        /// The width of the names.
        width: usize,
    },
    /// A line a change.
    Plain {
        /// What was printed last.
        printed: BTreeMap<Subject, String>,
        /// The width of the names.
        width: usize,
    },
}

impl Board {
    /// A board for these subjects.
    pub(crate) fn new<'a>(
        subjects: impl Iterator<Item = &'a Subject> + Clone,
        terminal: bool,
    ) -> Self {
        let width = subjects
            .clone()
            .map(|subject| measure_text_width(&subject.to_string()))
            .max()
            .unwrap_or(0);
        if !terminal {
            return Self::Plain {
                printed: BTreeMap::new(),
                width,
            };
        }
        let bars = MultiProgress::new();
        let mut lines = BTreeMap::new();
        for subject in subjects {
            let bar = bars.add(ProgressBar::new_spinner().with_style(spinning()));
            bar.enable_steady_tick(TURN);
            lines.insert(subject.clone(), bar);
        }
        Self::Terminal { bars, lines, width }
    }

    /// Shows how a subject stands.
    pub(crate) fn show(&mut self, subject: &Subject, tracked: &Tracked) -> anyhow::Result<()> {
        match self {
            Self::Plain { printed, width } => {
                // A group waits for its services, which have lines of their own.
                let said_already = matches!(
                    (subject, &tracked.standing.progress),
                    (Subject::Group { .. }, Progress::Waiting { .. })
                );
                let text = plain(&padded(subject, *width), tracked);
                if !said_already && printed.get(subject) != Some(&text) {
                    output::line(&text)?;
                    printed.insert(subject.clone(), text);
                }
            }
            Self::Terminal { lines, width, .. } => {
                if let Some(bar) = lines.get(subject) {
                    let (mark, text) = marked(&padded(subject, *width), tracked);
                    match mark {
                        None => bar.set_style(spinning()),
                        Some(mark) => bar.set_style(settled(&mark)),
                    }
                    bar.set_message(text);
                }
            }
        }
        Ok(())
    }

    /// Says something that is about no subject.
    pub(crate) fn note(&self, text: &str) -> anyhow::Result<()> {
        match self {
            Self::Plain { .. } => output::note(text),
            Self::Terminal { bars, .. } => Ok(bars.println(text)?),
        }
    }

    /// Leaves the lines as they are.
    pub(crate) fn close(&self) {
        if let Self::Terminal { lines, .. } = self {
            for bar in lines.values() {
                bar.disable_steady_tick();
                bar.abandon();
            }
        }
    }
}

fn padded(subject: &Subject, width: usize) -> String {
    let name = subject.to_string();
    let blanks = " ".repeat(width.saturating_sub(measure_text_width(&name)));
    name + &blanks
}

fn spinning() -> ProgressStyle {
    template("{spinner} {wide_msg} {elapsed:>5}").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

fn settled(mark: &str) -> ProgressStyle {
    template(&format!("{mark} {{wide_msg}}"))
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).expect("these templates are written here and are right")
}

/// One line as text, the same whenever nothing changed.
fn plain(name: &str, tracked: &Tracked) -> String {
    match marked(name, tracked) {
        (None, text) => text,
        (Some(_), text) => match tracked.standing.progress {
            Progress::Failed { .. } => format!("{text} (failed)"),
            Progress::Done { .. } | Progress::Waiting { .. } => text,
        },
    }
}

/// The mark of a settled line, and the line.
fn marked(name: &str, tracked: &Tracked) -> (Option<String>, String) {
    let Tracked {
        standing: Standing { ready, progress },
        since,
        ..
    } = tracked;
    let line = |words: &str| {
        let words = words.lines().next().unwrap_or_default();
        format!("{name}  {ready:<3}  {words}")
    };
    match progress {
        Progress::Waiting { words } => (None, line(words)),
        Progress::Failed { words, .. } => {
            (Some(style("✖").red().for_stderr().to_string()), line(words))
        }
        Progress::Done { words, .. } => {
            let after = if *since < TURN {
                String::new()
            } else {
                format!(" in {:.1} s", since.as_secs_f64())
            };
            (
                Some(style("✔").green().for_stderr().to_string()),
                format!("{}{after}", line(words)),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::Proof;
    use super::*;

    fn tracked(ready: &str, progress: Progress, milliseconds: u64) -> Tracked {
        Tracked {
            standing: Standing {
                ready: ready.to_owned(),
                progress,
            },
            since: Duration::from_millis(milliseconds),
            from_the_first: false,
        }
    }

    #[test]
    fn a_plain_line_has_no_colours_and_says_how_a_subject_stands() {
        let subject = Subject::Service {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        };
        let words = |words: &str| words.to_owned();
        let lines = [
            tracked(
                "1/2",
                Progress::Waiting {
                    words: words("web-1 is starting"),
                },
                0,
            ),
            tracked(
                "2/2",
                Progress::Done {
                    words: words("healthy"),
                    proof: Proof::Runs,
                },
                1940,
            ),
            tracked(
                "2/2",
                Progress::Done {
                    words: words("running"),
                    proof: Proof::Runs,
                },
                0,
            ),
            tracked(
                "0/1",
                Progress::Failed {
                    words: words("exited with 1; next start in 20 s\nlast lines:\nboom"),
                    instance: None,
                },
                10,
            ),
        ];
        let text: Vec<String> = lines
            .iter()
            .map(|line| plain(&padded(&subject, 5), line))
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        web    1/2  web-1 is starting
        web    2/2  healthy in 1.9 s
        web    2/2  running
        web    0/1  exited with 1; next start in 20 s (failed)
        ");
    }

    #[test]
    fn on_a_terminal_every_subject_has_a_line_that_is_left_as_it_was() {
        let subject = Subject::Service {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        };
        let mut board = Board::new([subject.clone()].iter(), true);
        board
            .show(
                &subject,
                &tracked(
                    "1/2",
                    Progress::Waiting {
                        words: "web-1 is starting".to_owned(),
                    },
                    0,
                ),
            )
            .unwrap();
        board
            .show(
                &subject,
                &tracked(
                    "2/2",
                    Progress::Done {
                        words: "running".to_owned(),
                        proof: Proof::Runs,
                    },
                    1940,
                ),
            )
            .unwrap();
        board.close();
        let Board::Terminal { lines, .. } = &board else {
            panic!("a terminal was asked for")
        };
        assert_eq!(lines[&subject].message(), "web  2/2  running in 1.9 s");
        assert!(lines[&subject].is_finished());
    }
}
