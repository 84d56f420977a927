//! How things are printed: plain tables, JSON, YAML, and nothing that is not text when nobody looks at a terminal.

use std::io::{self, BufRead, Write};

use anyhow::Context;
use console::measure_text_width;
use serde::Serialize;

use crate::args::Output;

/// Prints text to standard output. A reader that went away (`clos get | head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line to standard output.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a line to standard error: what is about the command and not its result.
pub(crate) fn note(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stderr().lock(), "{text}")?)
}

/// Asks, and takes nothing but a clear yes for one.
pub(crate) fn agreed(question: &str, answers: &mut dyn BufRead) -> anyhow::Result<bool> {
    write!(io::stderr().lock(), "{question}")?;
    let mut answer = String::new();
    answers
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Prints data as YAML when that was asked for, else as JSON.
pub(crate) fn data(format: Option<Output>, data: &impl Serialize) -> anyhow::Result<()> {
    match format {
        Some(Output::Yaml) => print(&serde_saphyr::to_string(data)?),
        Some(Output::Json | Output::Wide | Output::Name) | None => {
            line(&serde_json::to_string_pretty(data)?)
        }
    }
}

/// Rows under a head, in columns that are as wide as they must be.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a head.
    pub(crate) fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self {
            rows: vec![head.into_iter().map(Into::into).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table as text. Empty columns at the end of a line leave no blanks behind.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| measure_text_width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width - measure_text_width(cell) + 3));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A length of time as people say it: `20 s`, `2m`, `3h`, `5d`.
pub(crate) fn age(since: jiff::Timestamp, now: jiff::Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_have_no_blanks_at_the_end() {
        let mut table = Table::new(["NAME", "READY", "NOTE"]);
        table.row(["a-long-name", "1/1", ""]);
        table.row(["ä", "0/1", "späte"]);
        insta::assert_snapshot!(table.render(), @r"
        NAME          READY   NOTE
        a-long-name   1/1
        ä             0/1     späte
        ");
    }

    #[test]
    fn an_age_has_one_unit() {
        let now = jiff::Timestamp::from_second(1_000_000).unwrap();
        let ago = |seconds: i64| {
            age(
                jiff::Timestamp::from_second(1_000_000 - seconds).unwrap(),
                now,
            )
        };
        assert_eq!(
            [ago(5), ago(125), ago(7300), ago(200_000), ago(-5)],
            ["5s", "2m", "2h", "2d", "0s"]
        );
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        for (answer, yes) in [
            ("y\n", true),
            ("Yes\n", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yup\n", false),
        ] {
            assert_eq!(
                agreed("", &mut answer.as_bytes()).unwrap(),
                yes,
                "{answer:?}"
            );
        }
    }
}
