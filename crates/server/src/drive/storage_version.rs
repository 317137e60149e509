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

    /// Shows what the storage says.
    pub(super) fn publish_storage_version(&self) {
        let version = self.applier.machine.storage_version();
        *self.shared.storage_version.write() = version.map(|version| version.to_string());
    }

    fn migrate_storage(&mut self) {
        let machine = &mut self.applier.machine;
        let Some(next) = machine.next_storage_version() else { return };
        if let Some(stored) = machine.storage_version() {
            tracing::info!(
                cluster_version = %next,
                storage_version = %stored,
                "cluster version differs from storage version."
            );
        }
        if let Err(error) = machine.migrate_storage() {
            // Versions that no step leads to stay as they are, as in etcd.
            tracing::error!(cluster_version = %next, %error, "failed to update storage version");
            return;
        }
        tracing::info!(new_storage_version = %next, "updated storage version");
        self.publish_storage_version();
        let downgrade = self.applier.machine.members.downgrade();
        if downgrade.enabled {
            tracing::info!(
                target_version = %downgrade.target_version,
                server_version = crate::VERSION,
                "The server is ready to downgrade"
            );
        }
    }
}
