//! Manifests: the bytes of YAML and JSON files become objects that know where each of their fields stands. Nothing here knows
//! the API; whether a kind exists and its fields are right is found out later, with the places from here.

mod mistake;
mod node;
mod object;
mod position;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use mistake::{Mistake, Mistakes};
pub use object::Declared;
pub use position::Position;

use object::Reader;

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// What stands in some files.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// Every object, in the order of the files and documents.
    pub objects: Vec<Declared>,
    /// Everything that is wrong already without asking the API.
    pub mistakes: Vec<Mistake>,
    /// How many files were read.
    pub files: usize,
}

impl Manifests {
    /// Adds the objects and mistakes of one file; `file` is its name as the user knows it.
    pub fn read(&mut self, file: &Path, bytes: &[u8]) {
        self.files += 1;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = bytes[..error.valid_up_to()]
                    .split(|byte| *byte == b'\n')
                    .count();
                let mut mistake =
                    Mistake::of_file(file, "is not UTF-8 text; save the file as UTF-8");
                mistake.line = u32::try_from(line).ok();
                return self.mistakes.push(mistake);
            }
        };
        match node::documents(text) {
            Ok(documents) => {
                let mut reader = Reader {
                    file: Arc::from(file),
                    objects: &mut self.objects,
                    mistakes: &mut self.mistakes,
                };
                for document in documents {
                    reader.document(document);
                }
            }
            Err(error) => {
                let mut mistake = Mistake::of_file(file, error.message);
                mistake.line = error.at.map(|at| at.line).filter(|line| *line > 0);
                self.mistakes.push(mistake);
            }
        }
    }
}
