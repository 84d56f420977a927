//! How a source is, for readiness, metrics and people.

use std::fmt;

use jiff::Timestamp;

use crate::manifest::Mistake;

/// How a source is. Published whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// The source's name.
    pub name: String,
    /// In one word, with the reason.
    pub state: SourceState,
    /// How many objects the last good look declared.
    pub objects: usize,
    /// How many files they stand in.
    pub files: usize,
    /// What is wrong with what is there now; while this is not empty, the last good declarations stay in force.
    pub mistakes: Vec<Mistake>,
    /// The digest of the files that were applied last, in hexadecimal.
    pub last_synced_revision: Option<String>,
    /// When the API was last known to hold what is declared.
    pub last_sync_time: Option<Timestamp>,
}

/// A source's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceState {
    /// Nothing was looked at yet.
    Starting,
    /// The API holds what is declared.
    Synced,
    /// There are mistakes; nothing was applied.
    Mistaken,
    /// Too much would go; nothing was applied. Says what would confirm it.
    Refused(String),
    /// The API could not be reached or did not take everything; it is tried again.
    Failing(String),
}

impl SourceStatus {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: SourceState::Starting,
            objects: 0,
            files: 0,
            mistakes: Vec::new(),
            last_synced_revision: None,
            last_sync_time: None,
        }
    }

    /// Whether the first look is over, however it ended: a server is ready even when its source has mistakes.
    pub fn has_looked(&self) -> bool {
        match self.state {
            SourceState::Starting | SourceState::Failing(_) => self.last_sync_time.is_some(),
            SourceState::Synced | SourceState::Mistaken | SourceState::Refused(_) => true,
        }
    }
}

impl fmt::Display for SourceStatus {
    /// `3 objects in 2 files, applied`, or what keeps them from being applied.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            SourceState::Starting => f.write_str("not looked at yet"),
            SourceState::Synced => write!(
                f,
                "{} in {}, applied",
                counted(self.objects, "object"),
                counted(self.files, "file")
            ),
            SourceState::Mistaken => write!(
                f,
                "{}, nothing was applied",
                counted(self.mistakes.len(), "mistake")
            ),
            SourceState::Refused(why) | SourceState::Failing(why) => f.write_str(why),
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
