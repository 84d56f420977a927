//! What was measured: one table for people, one file for machines, and the arithmetic between them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    figures: BTreeMap<String, f64>,
    notes: Vec<String>,
}

/// A line of the table: what, ours, the floor it stands on, the ratio, the goal.
#[derive(Debug)]
struct Row([String; 5]);

/// Times of the same thing, sorted.
#[derive(Clone, Debug)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// At least one time.
    pub(crate) fn new(mut times: Vec<Duration>) -> anyhow::Result<Self> {
        times.sort_unstable();
        anyhow::ensure!(!times.is_empty(), "nothing was measured");
        Ok(Self(times))
    }

    /// The one in the middle, in milliseconds.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(ms(self.0[middle - 1]), ms(self.0[middle]))
        } else {
            ms(self.0[middle])
        }
    }

    /// The one that 95 of 100 do not exceed, in milliseconds.
    pub(crate) fn p95(&self) -> f64 {
        let rank = (self.0.len() * 95).div_ceil(100);
        self.0
            .get(rank.saturating_sub(1))
            .map_or(0.0, |time| ms(*time))
    }

    /// The longest, in milliseconds.
    pub(crate) fn longest(&self) -> f64 {
        self.0.last().map_or(0.0, |longest| ms(*longest))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = self.median();
        if self.0.len() == 1 {
            write!(f, "{median:.0} ms")
        } else {
            write!(
                f,
                "{median:.0} / {:.0} / {:.0} ms",
                self.p95(),
                self.longest()
            )
        }
    }
}

impl Report {
    /// A figure of the file.
    pub(crate) fn figure(&mut self, key: impl Into<String>, value: f64) {
        self.figures
            .insert(key.into(), (value * 1000.0).round() / 1000.0);
    }

    /// A line with a floor to compare with; gives the ratio of the medians.
    pub(crate) fn compared(
        &mut self,
        what: impl Into<String>,
        ours: &Times,
        floor: &Times,
        goal: &str,
    ) -> f64 {
        let ratio = ours.median() / floor.median();
        self.row(
            what,
            ours.to_string(),
            floor.to_string(),
            format!("{ratio:.2}"),
            goal,
        );
        ratio
    }

    /// A line without a floor.
    pub(crate) fn plain(&mut self, what: impl Into<String>, ours: impl Into<String>, goal: &str) {
        self.row(what, ours, "", "", goal);
    }

    /// A line of any kind.
    pub(crate) fn row(
        &mut self,
        what: impl Into<String>,
        ours: impl Into<String>,
        floor: impl Into<String>,
        ratio: impl Into<String>,
        goal: &str,
    ) {
        self.rows.push(Row([
            what.into(),
            ours.into(),
            floor.into(),
            ratio.into(),
            goal.to_owned(),
        ]));
    }

    /// A sentence below the table.
    pub(crate) fn note(&mut self, words: String) {
        self.notes.push(words);
    }

    /// Writes the figures.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.figures).context("figures are JSON")?;
        std::fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["WHAT (p50 / p95 / worst)", "CLOS", "FLOOR", "RATIO", "GOAL"];
        let head = Row(head.map(str::to_owned));
        let rows: Vec<&Row> = std::iter::once(&head).chain(&self.rows).collect();
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row.0[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2), width(3)];
        for row in &rows {
            let cells = row.0.iter().zip(widths.iter().chain(&[0]));
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            let line = cells.join("   ");
            writeln!(f, "{}", line.trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// In milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(values: &[u64]) -> Times {
        Times::new(values.iter().copied().map(Duration::from_millis).collect()).unwrap()
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert!((times(&[400, 100, 300, 200]).median() - 250.0).abs() < 1e-9);
        assert!((times(&[500, 100, 300]).median() - 300.0).abs() < 1e-9);
        assert!(Times::new(Vec::new()).is_err());
    }

    #[test]
    fn of_twenty_times_one_is_longer_than_the_95th() {
        let twenty: Vec<u64> = (1..=20).collect();
        assert!((times(&twenty).p95() - 19.0).abs() < 1e-9);
        assert!((times(&twenty).longest() - 20.0).abs() < 1e-9);
        assert!((times(&[7]).p95() - 7.0).abs() < 1e-9);
    }

    #[test]
    fn the_table_shows_ratios_beside_their_goals() {
        let mut report = Report::default();
        let ratio = report.compared("repair", &times(&[550, 560]), &times(&[500]), "<= 1.1");
        assert!((ratio - 1.11).abs() < 1e-9);
        report.plain("store writes in an idle minute", "0", "0");
        report.note("load 0.1".to_owned());
        let expected = "\
WHAT (p50 / p95 / worst)         CLOS                 FLOOR    RATIO   GOAL
repair                           555 / 560 / 560 ms   500 ms   1.11    <= 1.1
store writes in an idle minute   0                                     0
load 0.1
";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn the_file_holds_what_was_measured_and_nothing_else() {
        let mut report = Report::default();
        report.figure("repair_kill_ms", 512.345_67);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        report.write(&path).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "{\n  \"repair_kill_ms\": 512.346\n}\n");
    }
}
