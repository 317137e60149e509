//! The storage version of a member: what its database is written for. It follows the cluster's.

use crate::Machine;
use membership::{MigrationError, Version};

/// The version of a cluster whose members have not all spoken.
const UNDECIDED: Version = Version { major: 3, minor: 0, patch: 0 };

impl Machine {
    /// The version of what is stored, as far as it is known.
    pub fn storage_version(&self) -> Option<Version> {
        let written = membership::written_storage_version(&self.backend.reader().view());
        // The term gets into the database with the first commit, and is known before.
        let is_used = self.backend.applied().term > 0;
        written.or_else(|| is_used.then_some(Version::UNWRITTEN))
    }

    /// The version that what is stored should have, where it has another.
    pub fn next_storage_version(&self) -> Option<Version> {
        let cluster = Version::parse(self.members.cluster_version()?)?.minor_only();
        let stored = self.storage_version().map(Version::minor_only);
        (cluster != UNDECIDED && stored != Some(cluster)).then_some(cluster)
    }

    /// Gives what is stored the cluster's version, if it has another.
    ///
    /// # Errors
    /// There is no way from one to the other; nothing is changed then.
    pub fn migrate_storage(&mut self) -> Result<(), MigrationError> {
        let Some(target) = self.next_storage_version() else { return Ok(()) };
        let current = self.storage_version().ok_or(MigrationError::Unknown)?;
        let mut txn = self.backend.begin_maintenance();
        // No entry of the log is newer than the versions that are known here.
        let result = membership::migrate_from(current, &mut txn, None, target);
        txn.finish();
        let next = self.next_storage_version();
        assert!(result.is_err() || next.is_none(), "migrated to {target}, and {next:?} is due");
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Effect, Fault};
    use backend::{Backend, EntryId, Options, Table};
    use bytes::Bytes;
    use disk::sim::SimDisk;
    use prost::Message;
    use proto::etcdserverpb::InternalRaftRequest;
    use proto::membershippb::ClusterVersionSetRequest;
    use proto::raftpb::Entry;
    use std::path::Path;
    use std::sync::Arc;

    fn backend() -> Backend {
        let disk = Arc::new(SimDisk::new(1));
        Backend::open(disk, Path::new("db"), Options::default()).unwrap()
    }

    fn open(backend: Backend) -> Result<Machine, Fault> {
        let config = Config { quota_bytes: 0, learners_max: 1 };
        let lease = lease::Config {
            ttl_min_s: 2,
            checkpoints: false,
            persist_checkpoints: false,
            checkpoint_interval_ms: lease::CHECKPOINT_MS,
        };
        Machine::open(backend, lease, config).map(|opened| opened.machine)
    }

    fn set(machine: &mut Machine, index: u64, ver: &str) -> Result<Effect, Fault> {
        let cluster_version_set = Some(ClusterVersionSetRequest { ver: ver.into() });
        let request = InternalRaftRequest { cluster_version_set, ..Default::default() };
        let data = Some(request.encode_to_vec().into());
        let entry = Entry { index: Some(index), term: Some(2), data, ..Entry::default() };
        machine.apply(&entry, |_| false).map(|outcome| outcome.effect)
    }

    #[test]
    fn what_is_stored_follows_the_cluster_up_and_down() {
        let mut machine = open(backend()).unwrap();
        assert_eq!((machine.storage_version(), machine.next_storage_version()), (None, None));
        for (index, ver, is_lower, stored) in [
            (1, "3.0.0", false, "3.5.0"),
            (2, "3.7.0", false, "3.7.0"),
            (3, "3.6.0", true, "3.6.0"),
            (4, "3.7.0", false, "3.7.0"),
        ] {
            let effect = set(&mut machine, index, ver).unwrap();
            assert_eq!(effect, Effect::ClusterVersion { is_lower });
            machine.migrate_storage().unwrap();
            assert_eq!(machine.storage_version().unwrap().to_string(), stored);
            assert_eq!(machine.next_storage_version(), None);
        }
    }

    #[test]
    fn above_the_own_version_there_is_nothing_to_do_but_to_stop() {
        let mut machine = open(backend()).unwrap();
        let fault = set(&mut machine, 1, "3.8.0").unwrap_err().to_string();
        assert!(fault.contains("server version is lower"), "{fault}");
        for (table, key, want) in [
            (Table::Cluster, "clusterVersion", "server version is lower"),
            (Table::Meta, "storageVersion", "version \"3.8.0\" is not supported"),
        ] {
            let mut backend = backend();
            let mut txn = backend.begin();
            txn.put(table, key.as_bytes(), Bytes::from("3.8.0"));
            txn.finish(EntryId { term: 2, index: 1 });
            let fault = open(backend).err().expect("it is too new").to_string();
            assert!(fault.contains(want), "{fault}");
        }
    }
}
