//! Who the members are: identities, attributes, cluster and storage versions.
//!
//! Kept in the tables `members`, `members_removed` and `cluster`, in etcd's JSON, and changed by
//! committed entries only (reference: `server/etcdserver/api/membership`).

mod ids;
mod initial;
mod member;
mod members;
mod storage;
mod v2;

pub use ids::{cluster_id, member_id};
pub use initial::InitialCluster;
pub use member::Member;
pub use members::{Downgrade, LEARNERS_MAX, Members, Refusal};
pub use storage::{
    MigrationError, Version, check_storage, migrate, migrate_from, set_storage_version,
    storage_version, written_storage_version,
};
pub use v2::snapshot_data;
