//! What is wrong with what a user declared, as one line with file, line, object, field and what would be right.

use std::fmt;
use std::path::PathBuf;

/// One mistake. Prints as `shop/web.yaml:21: Service web: spec.ports[0].hostPort: 80000 is not a port; give 1 to 65535`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file or folder, as the user named it.
    pub file: PathBuf,
    /// The line in the file, from 1; none where the whole file or the whole set is meant.
    pub line: Option<u32>,
    /// Kind and name of the object, as `Service web`.
    pub object: Option<String>,
    /// The field, as `spec.ports[0].hostPort`.
    pub path: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Mistake {
    /// A mistake that concerns a whole file or folder.
    pub fn of_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            object: None,
            path: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(object) = &self.object {
            write!(f, " {object}:")?;
        }
        if let Some(path) = &self.path {
            write!(f, " {path}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// All mistakes of one look at the sources, by file and line. Prints one line for each and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Sorts what was found; none when nothing was.
    pub fn new(mut mistakes: Vec<Mistake>) -> Option<Self> {
        mistakes.sort();
        mistakes.dedup();
        (!mistakes.is_empty()).then_some(Self(mistakes))
    }

    /// The mistakes in the order they are shown in.
    pub fn as_slice(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "{mistake}")?;
        }
        let count = self.0.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        write!(
            f,
            "{count} {noun}, nothing was applied. The running services were not touched."
        )
    }
}
