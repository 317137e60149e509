//! What is stored follows the cluster's version: up at once, down when the log holds no more of the
//! higher version than what a snapshot covers (reference: `server/etcdserver/version/monitor.go`).

use super::ApplyDriver;

impl ApplyDriver {
    /// The cluster's version may be another one now.
    pub(crate) fn follow_cluster_version(&mut self) {
        let machine = &self.applier.machine;
        let Some(next) = machine.next_storage_version() else { return };
        let goes_down = machine.storage_version().is_some_and(|stored| next < stored);
        self.lowers_at = if goes_down { self.applier.force_snapshot() } else { None };
        if self.lowers_at.is_none() {
            self.migrate_storage();
        }
    }

    /// The log begins behind this entry if the member starts again.
    pub(crate) fn snapshot_recorded(&mut self, index: u64) {
        if self.lowers_at.is_some_and(|at| at <= index) {
            self.lowers_at = None;
            self.migrate_storage();
        }
    }

    fn migrate_storage(&mut self) {
        // Versions that no step leads to stay as they are, as in etcd.
        let _ = self.applier.machine.migrate_storage();
    }
}
