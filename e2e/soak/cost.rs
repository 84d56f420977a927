//! What the server costs while it is shaken: memory, open files and threads, sampled, and whether they stay flat.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Memory may be so much larger at the end, as a share and in MiB beside it.
const MORE_MEMORY: (u64, u64) = (125, 8);

/// So many more files may be open at the end, and threads run.
const MORE_HANDLES: u64 = 24;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cost {
    /// In KiB.
    pub(crate) memory: u64,
    pub(crate) files: u64,
    pub(crate) threads: u64,
}

/// Looks at a process once a second, whichever it is at the moment.
pub(crate) struct Sampler {
    process: Arc<AtomicU32>,
    ended: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Cost>>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Samples nothing until it is told which process.
    pub(crate) fn start() -> Self {
        let process = Arc::new(AtomicU32::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (of, end, into) = (process.clone(), ended.clone(), samples.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if let Some(cost) = Cost::of(of.load(Ordering::Relaxed)) {
                    into.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(cost);
                }
                crate::pause(Duration::from_secs(1));
            }
        });
        Self {
            process,
            ended,
            samples,
            thread: Some(thread),
        }
    }

    /// From now on this process is looked at; 0 is none.
    pub(crate) fn watch(&self, process: u32) {
        self.process.store(process, Ordering::Relaxed);
    }

    /// All samples so far.
    pub(crate) fn samples(&self) -> Vec<Cost> {
        self.samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Cost {
    /// What a process uses now; none when it is gone.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let files = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
        let number = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        Some(Self {
            memory: number("VmRSS:")?,
            files: files as u64,
            threads: number("Threads:")?,
        })
    }
}

/// The medians of the second and of the last quarter, when there are enough samples to compare.
pub(crate) fn quarters(samples: &[Cost]) -> Option<(Cost, Cost)> {
    let quarter = samples.len() / 4;
    (quarter >= 5).then(|| {
        (
            median(&samples[quarter..2 * quarter]),
            median(&samples[samples.len() - quarter..]),
        )
    })
}

/// What grew more than it may.
pub(crate) fn growth((early, late): (Cost, Cost)) -> Vec<String> {
    let mut wrong = Vec::new();
    let (share, beside) = MORE_MEMORY;
    if late.memory > early.memory * share / 100 + beside * 1024 {
        wrong.push(format!(
            "memory grew from {} to {} KiB",
            early.memory, late.memory
        ));
    }
    if late.files > early.files + MORE_HANDLES {
        wrong.push(format!(
            "open files grew from {} to {}",
            early.files, late.files
        ));
    }
    if late.threads > early.threads + MORE_HANDLES {
        wrong.push(format!(
            "threads grew from {} to {}",
            early.threads, late.threads
        ));
    }
    wrong
}

fn median(samples: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> u64| {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    Cost {
        memory: middle(|cost| cost.memory),
        files: middle(|cost| cost.files),
        threads: middle(|cost| cost.threads),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rising(from: u64, by: u64) -> Vec<Cost> {
        (0..40)
            .map(|number| Cost {
                memory: (from + number * by) * 1024,
                files: 30,
                threads: 4,
            })
            .collect()
    }

    #[test]
    fn what_stays_flat_is_right_and_what_grows_is_found() {
        assert_eq!(growth(quarters(&rising(40, 0)).unwrap()), [""; 0]);
        assert_eq!(growth(quarters(&rising(40, 5)).unwrap()).len(), 1);
        let early = Cost {
            memory: 1,
            files: 10,
            threads: 4,
        };
        assert_eq!(
            growth((
                early,
                Cost {
                    files: 100,
                    ..early
                }
            ))
            .len(),
            1
        );
        assert_eq!(
            growth((
                early,
                Cost {
                    threads: 100,
                    ..early
                }
            ))
            .len(),
            1
        );
    }

    #[test]
    fn few_samples_are_not_compared() {
        assert_eq!(quarters(&rising(40, 5)[..10]), None);
    }

    #[test]
    fn this_process_has_a_cost_and_one_that_is_gone_has_none() {
        let own = Cost::of(std::process::id()).unwrap();
        assert!(own.memory > 0 && own.files > 0 && own.threads > 0);
        assert_eq!(Cost::of(0), None);
    }
}
