//! The process as the operating system sees it: `process_*` and `os_fd_*`, read from `/proc`.

use super::families::Families;
use prometheus::{Counter, Gauge};
use std::fs;
use std::path::Path;

/// Linux counts processor time for programs in hundredths of a second, whatever the kernel does.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `/proc` tells. On systems without it all stays at zero.
pub struct ProcessMetrics {
    cpu_seconds: Counter,
    received_bytes: Counter,
    sent_bytes: Counter,
    start_seconds: Gauge,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    virtual_max_bytes: Gauge,
    open_fds: Gauge,
    fds_max: Gauge,
    fd_used: Gauge,
    fd_limit: Gauge,
}

impl ProcessMetrics {
    pub(super) fn new(f: &Families<'_>) -> ProcessMetrics {
        let counter = |name: &str, help: &str| {
            f.float_counters(name, help, &[]).with_label_values::<&str>(&[])
        };
        let metrics = ProcessMetrics {
            cpu_seconds: counter(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            ),
            received_bytes: counter(
                "process_network_receive_bytes_total",
                "Number of bytes received by the process over the network.",
            ),
            sent_bytes: counter(
                "process_network_transmit_bytes_total",
                "Number of bytes sent by the process over the network.",
            ),
            start_seconds: f.float_gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            ),
            resident_bytes: f
                .float_gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
            virtual_bytes: f
                .float_gauge("process_virtual_memory_bytes", "Virtual memory size in bytes."),
            virtual_max_bytes: f.float_gauge(
                "process_virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes.",
            ),
            open_fds: f.float_gauge("process_open_fds", "Number of open file descriptors."),
            fds_max: f.float_gauge("process_max_fds", "Maximum number of open file descriptors."),
            fd_used: f.float_gauge("os_fd_used", "The number of used file descriptors."),
            fd_limit: f.float_gauge("os_fd_limit", "The file descriptor limit."),
        };
        metrics.start_seconds.set(start_time().unwrap_or_default());
        metrics
    }

    pub(super) fn refresh(&self) {
        raise(&self.cpu_seconds, cpu_seconds());
        let network = fs::read_to_string("/proc/self/net/dev").ok().map(|text| traffic(&text));
        raise(&self.received_bytes, network.map(|(received, _)| received));
        raise(&self.sent_bytes, network.map(|(_, sent)| sent));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        self.resident_bytes.set(kilobytes(&status, "VmRSS:"));
        self.virtual_bytes.set(kilobytes(&status, "VmSize:"));
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        self.virtual_max_bytes.set(limit(&limits, "Max address space"));
        let fds_max = limit(&limits, "Max open files");
        let fds = open_fds() as f64;
        for (gauge, value) in [
            (&self.open_fds, fds),
            (&self.fd_used, fds),
            (&self.fds_max, fds_max),
            (&self.fd_limit, fds_max),
        ] {
            gauge.set(value);
        }
    }
}

/// How many file descriptors the process may have, where the system tells.
pub fn fd_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let found = limit(&limits, "Max open files");
    (found > 0.0).then_some(found as u64)
}

/// The program and its arguments, where the system tells.
pub fn command_line() -> Vec<String> {
    let text = fs::read("/proc/self/cmdline").unwrap_or_default();
    let whole = text.strip_suffix(b"\0").unwrap_or(&text);
    whole.split(|byte| *byte == 0).map(|one| String::from_utf8_lossy(one).into_owned()).collect()
}

/// Bytes of memory that are in use, and those of them that no file backs.
pub fn memory_bytes() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    (kilobytes(&status, "VmRSS:") as u64, kilobytes(&status, "RssAnon:") as u64)
}

fn open_fds() -> usize {
    // The directory being read is open itself.
    fs::read_dir(Path::new("/proc/self/fd")).map_or(0, |fds| fds.count().saturating_sub(1))
}

fn raise(counter: &Counter, to: Option<f64>) {
    let more = to.unwrap_or_default() - counter.get();
    if more > 0.0 {
        counter.inc_by(more);
    }
}

/// The fields of `/proc/self/stat` after the program's name, which may hold anything.
fn stat() -> Option<Vec<f64>> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(|field| field.trim().parse().unwrap_or_default()).collect())
}

fn cpu_seconds() -> Option<f64> {
    let fields = stat()?;
    Some((fields.get(11)? + fields.get(12)?) / TICKS_PER_SECOND)
}

fn start_time() -> Option<f64> {
    let since_boot = stat()?.get(19)? / TICKS_PER_SECOND;
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.parse::<f64>().ok()? + since_boot)
}

fn kilobytes(status: &str, name: &str) -> f64 {
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    let number = found.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    number.unwrap_or_default() * 1024.0
}

/// A soft limit; no limit is the largest number.
fn limit(limits: &str, name: &str) -> f64 {
    let found = limits.lines().find_map(|line| line.strip_prefix(name));
    match found.and_then(|rest| rest.split_whitespace().next()) {
        Some("unlimited") => u64::MAX as f64,
        Some(number) => number.parse().unwrap_or_default(),
        None => 0.0,
    }
}

/// Bytes received and sent over all interfaces.
fn traffic(text: &str) -> (f64, f64) {
    let mut sums = (0.0, 0.0);
    for (_, counts) in text.lines().filter_map(|line| line.split_once(':')) {
        let counts: Vec<f64> =
            counts.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        sums.0 += counts.first().unwrap_or(&0.0);
        sums.1 += counts.get(8).unwrap_or(&0.0);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_proc_are_understood() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            20000                20000                files\n\
                      Max address space         unlimited            unlimited            bytes\n";
        assert_eq!(limit(limits, "Max open files"), 20_000.0);
        assert_eq!(limit(limits, "Max address space"), u64::MAX as f64);
        assert_eq!(limit(limits, "Max sleep"), 0.0);
        assert_eq!(kilobytes("VmSize:\t  12 kB\nVmRSS:\t 3 kB\n", "VmRSS:"), 3072.0);
        let net = "Inter-|   Receive | Transmit\n face |bytes |bytes\n\
                   lo: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n eth0: 5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(net), (15.0, 27.0));
    }
}
