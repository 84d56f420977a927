//! A database file that is read and never changed: redb wants to write even where it only verifies and repairs, and
//! what it writes stays in memory here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// redb's pages are a multiple of it.
const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;

#[derive(Debug)]
pub(crate) struct Overlay {
    base: Base,
    changed: Mutex<Changed>,
}

/// What lies under the changes.
#[derive(Debug)]
pub(crate) enum Base {
    File(File),
    Backend(Arc<dyn StorageBackend>),
}

impl Base {
    fn len(&self) -> Result<u64, Error> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Backend(backend) => backend.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::File(file) => file.read_exact_at(out, offset),
            Self::Backend(backend) => backend.read(offset, out),
        }
    }
}

#[derive(Debug)]
struct Changed {
    length: u64,
    /// The bytes before are the file's, those after it were cut off once.
    visible: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
}

impl Overlay {
    pub(crate) fn new(base: Base) -> Result<Self, Error> {
        let length = base.len()?;
        let changed = Changed {
            length,
            visible: length,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            base,
            changed: Mutex::new(changed),
        })
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file alone has at a place; zeros where it ends.
    fn read_file(&self, visible: u64, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let there = index(visible.saturating_sub(offset)).min(out.len());
        let (there, beyond) = out.split_at_mut(there);
        if !there.is_empty() {
            self.base.read(offset, there)?;
        }
        beyond.fill(0);
        Ok(())
    }
}

/// The part of `offset..offset + length` that lies in a block: where it begins in the range and in the block, and how
/// long it is.
fn overlap(block: u64, offset: u64, length: usize) -> (usize, usize, usize) {
    let begin = (block * BLOCK).max(offset);
    let end = ((block + 1) * BLOCK).min(offset + length as u64);
    (
        index(begin - offset),
        index(begin - block * BLOCK),
        index(end - begin),
    )
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("no file is larger than the address space of a 64-bit system")
}

impl StorageBackend for Overlay {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.changed().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let changed = self.changed();
        let end = offset
            .checked_add(out.len() as u64)
            .filter(|end| *end <= changed.length)
            .ok_or(ErrorKind::UnexpectedEof)?;
        self.read_file(changed.visible, offset, out)?;
        for (block, bytes) in changed.blocks.range(offset / BLOCK..end.div_ceil(BLOCK)) {
            let (to, from, length) = overlap(*block, offset, out.len());
            out[to..to + length].copy_from_slice(&bytes[from..from + length]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut changed = self.changed();
        changed.length = len;
        changed.visible = changed.visible.min(len);
        changed.blocks.retain(|block, _| block * BLOCK < len);
        if let Some(last) = changed.blocks.get_mut(&(len / BLOCK)) {
            last[index(len % BLOCK)..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut changed = self.changed();
        let end = offset + data.len() as u64;
        for block in offset / BLOCK..end.div_ceil(BLOCK) {
            if !changed.blocks.contains_key(&block) {
                let mut bytes = Box::new([0; BLOCK_BYTES]);
                self.read_file(changed.visible, block * BLOCK, &mut *bytes)?;
                changed.blocks.insert(block, bytes);
            }
            if let Some(bytes) = changed.blocks.get_mut(&block) {
                let (from, to, length) = overlap(block, offset, data.len());
                bytes[to..to + length].copy_from_slice(&data[from..from + length]);
            }
        }
        changed.length = changed.length.max(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        Length(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let data = prop_oneof![
            prop::collection::vec(1..=255_u8, 0..40),
            (1..=255_u8, 0..9000_usize).prop_map(|(byte, length)| vec![byte; length]),
        ];
        prop_oneof![
            4 => (0..20_000_usize, data).prop_map(|(at, data)| Step::Write(at, data)),
            1 => (0..24_000_usize).prop_map(Step::Length),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_reads_as_the_changed_file_would_and_the_file_stays_as_it_is(
            size in 0..20_000_usize,
            steps in prop::collection::vec(step(), 0..12),
            at in any::<prop::sample::Index>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let original: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            fs::write(&path, &original).unwrap();
            let overlay = Overlay::new(Base::File(File::open(&path).unwrap())).unwrap();
            let mut model = original.clone();
            for step in steps {
                match step {
                    Step::Write(at, data) => {
                        overlay.write(at as u64, &data).unwrap();
                        model.resize(model.len().max(at + data.len()), 0);
                        model[at..at + data.len()].copy_from_slice(&data);
                    }
                    Step::Length(length) => {
                        overlay.set_len(length as u64).unwrap();
                        model.resize(length, 0);
                    }
                }
            }
            prop_assert_eq!(overlay.len().unwrap(), model.len() as u64);
            let at = at.index(model.len() + 1);
            let mut seen = vec![9; model.len() - at];
            overlay.read(at as u64, &mut seen).unwrap();
            prop_assert_eq!(&seen[..], &model[at..]);
            prop_assert!(overlay.read(at as u64, &mut vec![0; seen.len() + 1]).is_err());
            prop_assert_eq!(fs::read(&path).unwrap(), original);
        }
    }
}
