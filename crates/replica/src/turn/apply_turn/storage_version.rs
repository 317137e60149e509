//! What is stored follows the cluster's version: up at once, down when the log holds no more of the
//! higher version than what a snapshot covers (reference: `server/etcdserver/version/monitor.go`).

use super::{ApplyTurn, At};
use crate::turn::{Caller, Note};

impl<C: Caller> ApplyTurn<C> {
    /// The cluster's version may be another one now.
    pub(super) fn follow_cluster_version(&mut self, at: At<'_, '_, C>) {
        let machine = &self.applier.machine;
        let Some(next) = machine.next_storage_version() else { return };
        let goes_down = machine.storage_version().is_some_and(|stored| next < stored);
        self.lowers_at = if goes_down { self.applier.force_snapshot() } else { None };
        if self.lowers_at.is_none() {
            self.migrate_storage(at);
        }
    }

    /// The log begins behind this entry if the member starts again.
    pub(super) fn snapshot_recorded(&mut self, index: u64, at: At<'_, '_, C>) {
        if self.lowers_at.is_some_and(|lowers_at| lowers_at <= index) {
            self.lowers_at = None;
            self.migrate_storage(at);
        }
    }

    fn migrate_storage(&mut self, at: At<'_, '_, C>) {
        let machine = &mut self.applier.machine;
        let Some(next) = machine.next_storage_version() else { return };
        if let Some(stored) = machine.storage_version() {
            let note = Note::StorageVersionDiffers { cluster: &next, storage: &stored };
            at.observer.note(note);
        }
        if let Err(error) = machine.migrate_storage() {
            // Versions that no step leads to stay as they are, as in etcd.
            let error = error.to_string();
            return at.observer.note(Note::StorageVersionFailed { cluster: &next, error });
        }
        let downgrade = machine.members.downgrade();
        let downgrade_target = downgrade.enabled.then_some(downgrade.target_version.as_str());
        at.observer.note(Note::StorageVersion { version: &next, downgrade_target });
        self.show_sizes(at);
    }
}
