//! What this process itself uses, read from `/proc/self` at each scrape; nothing is reported
//! where there is none.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

#[derive(Debug)]
pub(crate) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            gauge.encode(encoder.encode_descriptor(
                "process_resident_memory",
                "Memory of this process that is in RAM.",
                Some(&Unit::Bytes),
                gauge.metric_type(),
            )?)?;
        }
        if let Some(count) = open_files() {
            let gauge = ConstGauge::new(count);
            gauge.encode(encoder.encode_descriptor(
                "process_open_fds",
                "File descriptors this process holds open.",
                None,
                gauge.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<i64> {
    resident_bytes_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_bytes_of(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn open_files() -> Option<i64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    // The listing itself holds one open.
    i64::try_from(entries.saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::{open_files, resident_bytes, resident_bytes_of};

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tclos\nVmHWM:\t   99999 kB\nVmRSS:\t   29304 kB\nThreads:\t3\n";
        assert_eq!(resident_bytes_of(status), Some(29304 * 1024));
    }

    #[test]
    fn a_status_without_resident_memory_gives_no_number() {
        assert_eq!(resident_bytes_of("Name:\tkthreadd\n"), None);
        assert_eq!(resident_bytes_of("VmRSS:\tlots kB\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory_and_holds_files() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        let before = open_files().unwrap();
        let _held: Vec<_> = (0..50)
            .map(|_| std::fs::File::open("/proc/self/status").unwrap())
            .collect();
        assert!(open_files().unwrap() >= before + 40);
    }
}
