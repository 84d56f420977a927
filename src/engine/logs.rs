//! The output of a container, line by line.

use jiff::Timestamp;

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether to go on with lines to come.
    pub follow: bool,
    /// Only the last so many lines; all when none.
    pub tail: Option<u32>,
    /// Only lines after this time.
    pub since: Option<Timestamp>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, by the engine's clock.
    pub at: Option<Timestamp>,
    /// Whether it went to standard error.
    pub stderr: bool,
    /// The line, without its end; bytes that are no UTF-8 are replaced.
    pub text: String,
}
