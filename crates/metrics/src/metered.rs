//! A disk that measures how long it takes, by kind of file. The rooms below know no clock, so the
//! time is taken where they meet the operating system.

use crate::disk_metrics::DiskMetrics;
use disk::{Disk, File, Mapping, Open};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Measures another disk.
pub struct MeteredDisk {
    inner: Arc<dyn Disk>,
    metrics: Arc<DiskMetrics>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Log,
    Snapshot,
    Database,
}

impl MeteredDisk {
    /// Measures `inner`.
    pub fn around(inner: Arc<dyn Disk>, metrics: Arc<DiskMetrics>) -> Arc<dyn Disk> {
        Arc::new(MeteredDisk { inner, metrics })
    }
}

impl Purpose {
    fn of(path: &Path) -> Option<Purpose> {
        let parent = path.parent().and_then(Path::file_name).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("snap") => Some(Purpose::Snapshot),
            Some("wal") => Some(Purpose::Log),
            // A segment made ahead gets its name later.
            Some("tmp") if parent != "snap" => Some(Purpose::Log),
            Some("tmp") => Some(Purpose::Snapshot),
            Some("defrag") => Some(Purpose::Database),
            _ if path.file_name().is_some_and(|name| name == "db") => Some(Purpose::Database),
            _ => None,
        }
    }
}

impl Disk for MeteredDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, how)?;
        let Some(purpose) = Purpose::of(path).filter(|_| how.write) else { return Ok(inner) };
        Ok(Arc::new(MeteredFile { inner, purpose, metrics: Arc::clone(&self.metrics) }))
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.inner.create_dir_all(path, mode)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
}

struct MeteredFile {
    inner: Arc<dyn File>,
    purpose: Purpose,
    metrics: Arc<DiskMetrics>,
}

impl MeteredFile {
    fn wrote(&self, took: Duration, bytes: usize) {
        let metrics = &self.metrics;
        match self.purpose {
            Purpose::Log => {
                metrics.wal_write.observe(took.as_secs_f64());
                metrics.wal_bytes.add(bytes as f64);
            }
            Purpose::Snapshot => metrics.snapshots.add(took),
            Purpose::Database => metrics.database.add(took),
        }
    }

    fn synced(&self, took: Duration) {
        let metrics = &self.metrics;
        match self.purpose {
            Purpose::Log => metrics.wal_fsync.observe(took.as_secs_f64()),
            Purpose::Snapshot => {
                metrics.snap_fsync.observe(took.as_secs_f64());
                metrics.snapshots.add(took);
            }
            Purpose::Database => metrics.database.add(took),
        }
    }

    fn sync(&self, sync: impl FnOnce(&dyn File) -> io::Result<()>) -> io::Result<()> {
        let begun = Instant::now();
        let result = sync(&*self.inner);
        self.synced(begun.elapsed());
        result
    }
}

impl File for MeteredFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let begun = Instant::now();
        let result = self.inner.write_at(buf, offset);
        self.wrote(begun.elapsed(), buf.len());
        result
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(|file| file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(|file| file.sync_all())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn map(&self, len: u64, reserve: u64, old: Option<&Mapping>) -> io::Result<Mapping> {
        self.inner.map(len, reserve, old)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Early;
    use super::*;

    #[test]
    fn files_are_told_apart_and_measured() {
        let of = |path: &str| Purpose::of(Path::new(path));
        assert_eq!(of("d/member/wal/0-0.wal"), Some(Purpose::Log));
        assert_eq!(of("d/member/wal/0.tmp"), Some(Purpose::Log));
        assert_eq!(of("d/member/snap/0-0.snap"), Some(Purpose::Snapshot));
        assert_eq!(of("d/member/snap/db"), Some(Purpose::Database));
        assert_eq!(of("d/member/snap/other"), None);
        let early = Early::default();
        let sim = Arc::new(disk::sim::SimDisk::new(1));
        let metered = MeteredDisk::around(sim, Arc::clone(&early.disk));
        let file = metered.open(Path::new("a.wal"), Open::CREATE).unwrap();
        file.write_at(b"abc", 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(early.disk.wal_bytes.get(), 3.0);
        assert_eq!(early.disk.wal_write.get_sample_count(), 1);
        assert_eq!(early.disk.wal_fsync.get_sample_count(), 1);
    }
}
