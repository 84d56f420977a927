//! The file events are copied to: whole lines, private, rotated by size; it knows itself how far
//! it got. Where the lines come from is in `export`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// More than the longest line an entry can have.
const MAX_LINE: u64 = 2 << 20;

/// A file of JSON lines that is replaced when it is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// The file, such as `audit.log`; full ones become `audit.log.1`, `audit.log.2`, the oldest
    /// last.
    pub path: PathBuf,
    /// A line that would make the file larger than this, in bytes, begins a new one.
    pub max_bytes: u64,
    /// How many full files are kept; at least one is.
    pub keep: usize,
}

/// The open file. Dropped after an error, because a part of a line may stand at its end: opening
/// removes it.
#[derive(Debug)]
pub(crate) struct LogFile {
    sink: Sink,
    file: File,
    size: u64,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl LogFile {
    /// Opens or makes the file, mode 0600, and says the number of the last event in it, 0 if
    /// there is none.
    pub(crate) fn open(sink: &Sink) -> io::Result<(Self, u64)> {
        let mut file = open(sink)?;
        // A file somebody made beforehand may be open to others.
        file.set_permissions(Permissions::from_mode(0o600))?;
        let size = remove_partial_line(&mut file)?;
        let mut last = last_number(&mut file)?;
        for age in 1..=sink.kept() {
            if last.is_some() {
                break;
            }
            match File::open(sink.aged(age)) {
                Ok(mut older) => last = last_number(&mut older)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let opened = Self {
            sink: sink.clone(),
            file,
            size,
        };
        Ok((opened, last.unwrap_or(0)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.sink.path
    }

    /// Appends `lines`, each without its line end, changing to a new file where one is full.
    pub(crate) fn append(&mut self, lines: &[String]) -> io::Result<()> {
        let mut unwritten = Vec::new();
        for line in lines {
            let length = line.len() as u64 + 1;
            let size = self.size + unwritten.len() as u64;
            if size > 0 && size + length > self.sink.max_bytes {
                self.write(&mut unwritten)?;
                self.rotate()?;
            }
            unwritten.extend_from_slice(line.as_bytes());
            unwritten.push(b'\n');
        }
        self.write(&mut unwritten)
    }

    fn write(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        bytes.clear();
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        for age in (1..self.sink.kept()).rev() {
            rename_if_there(self.sink.aged(age), self.sink.aged(age + 1))?;
        }
        rename_if_there(self.sink.path.clone(), self.sink.aged(1))?;
        self.file = open(&self.sink)?;
        self.size = 0;
        Ok(())
    }
}

impl Sink {
    fn kept(&self) -> usize {
        self.keep.max(1)
    }

    fn aged(&self, age: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }
}

fn open(sink: &Sink) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&sink.path)
}

fn rename_if_there(from: PathBuf, to: PathBuf) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Cuts what a crash or a full disk left of a line, and answers the size then.
fn remove_partial_line(file: &mut File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let (start, tail) = tail(file, size)?;
    let whole = match tail.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => start + end as u64 + 1,
        None => start,
    };
    if whole < size {
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// The number of the last line that has one.
fn last_number(file: &mut File) -> io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let (_, tail) = tail(file, size)?;
    let number = |line: &[u8]| {
        serde_json::from_slice(line)
            .ok()
            .map(|line: Numbered| line.seq)
    };
    Ok(tail.split(|&byte| byte == b'\n').rev().find_map(number))
}

/// The last bytes of the file, enough for one line, and where they begin.
fn tail(file: &mut File, size: u64) -> io::Result<(u64, Vec<u8>)> {
    let start = size.saturating_sub(MAX_LINE);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(MAX_LINE).read_to_end(&mut tail)?;
    Ok((start, tail))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{LogFile, Sink};

    fn sink(folder: &Path, max_bytes: u64, keep: usize) -> Sink {
        Sink {
            path: folder.join("audit.log"),
            max_bytes,
            keep,
        }
    }

    fn lines(numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
        numbers
            .map(|seq| format!("{{\"seq\":{seq},\"text\":\"0123456789\"}}"))
            .collect()
    }

    fn numbers(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines()
            .map(|line| serde_json::from_str::<super::Numbered>(line).unwrap().seq)
            .collect()
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_is_private_even_when_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), 1000, 2);
        let mode = || fs::metadata(&sink.path).unwrap().permissions().mode() & 0o777;
        LogFile::open(&sink).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&sink.path, Permissions::from_mode(0o644)).unwrap();
        LogFile::open(&sink).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        // Each line has 31 bytes with its end: three fit.
        let sink = sink(folder.path(), 95, 2);
        let (mut file, last) = LogFile::open(&sink).unwrap();
        assert_eq!(last, 0);
        file.append(&lines(1..=4)).unwrap();
        file.append(&lines(5..=8)).unwrap();
        assert_eq!(numbers(&sink.path), [7, 8]);
        assert_eq!(numbers(&sink.aged(1)), [4, 5, 6]);
        assert_eq!(numbers(&sink.aged(2)), [1, 2, 3]);
        file.append(&lines(9..=10)).unwrap();
        assert_eq!(numbers(&sink.path), [10]);
        assert_eq!(numbers(&sink.aged(2)), [4, 5, 6]);
        let expected = ["audit.log", "audit.log.1", "audit.log.2"];
        assert_eq!(files(folder.path()), expected);
        for name in expected {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_line_larger_than_a_file_still_stands_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), 10, 0);
        let (mut file, _) = LogFile::open(&sink).unwrap();
        file.append(&lines(1..=3)).unwrap();
        assert_eq!(numbers(&sink.path), [3]);
        assert_eq!(numbers(&sink.aged(1)), [2]);
        assert_eq!(files(folder.path()), ["audit.log", "audit.log.1"]);
    }

    #[test]
    fn opening_cuts_a_partial_line_and_goes_on_after_the_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), 1000, 2);
        LogFile::open(&sink)
            .unwrap()
            .0
            .append(&lines(1..=3))
            .unwrap();
        let whole = fs::read(&sink.path).unwrap();
        for cut in 1..=lines(3..=3)[0].len() {
            fs::write(&sink.path, &whole[..whole.len() - cut]).unwrap();
            let (mut file, last) = LogFile::open(&sink).unwrap();
            assert_eq!(last, 2, "{cut} bytes cut");
            file.append(&lines(3..=3)).unwrap();
            assert_eq!(numbers(&sink.path), [1, 2, 3]);
        }
    }

    #[test]
    fn after_a_rotation_the_last_number_stands_in_the_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), 1000, 2);
        LogFile::open(&sink)
            .unwrap()
            .0
            .append(&lines(1..=3))
            .unwrap();
        fs::rename(&sink.path, sink.aged(1)).unwrap();
        assert_eq!(LogFile::open(&sink).unwrap().1, 3);
    }

    #[test]
    fn lines_others_put_there_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path(), 1000, 2);
        LogFile::open(&sink)
            .unwrap()
            .0
            .append(&lines(1..=3))
            .unwrap();
        let mut text = fs::read_to_string(&sink.path).unwrap();
        text.push_str("looked at by jane\n\n");
        fs::write(&sink.path, text).unwrap();
        assert_eq!(LogFile::open(&sink).unwrap().1, 3);
    }
}
