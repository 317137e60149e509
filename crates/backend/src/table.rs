//! The tables and their bucket names (reference: `server/storage/schema/bucket.go`).

/// A table of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // the names say it
pub enum Table {
    Key,
    Meta,
    Lease,
    Alarm,
    Cluster,
    Members,
    MembersRemoved,
    Auth,
    AuthUsers,
    AuthRoles,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 10] = [
        Table::Key,
        Table::Meta,
        Table::Lease,
        Table::Alarm,
        Table::Cluster,
        Table::Members,
        Table::MembersRemoved,
        Table::Auth,
        Table::AuthUsers,
        Table::AuthRoles,
    ];

    /// The bucket's name.
    pub fn name(self) -> &'static str {
        match self {
            Table::Key => "key",
            Table::Meta => "meta",
            Table::Lease => "lease",
            Table::Alarm => "alarm",
            Table::Cluster => "cluster",
            Table::Members => "members",
            Table::MembersRemoved => "members_removed",
            Table::Auth => "auth",
            Table::AuthUsers => "authUsers",
            Table::AuthRoles => "authRoles",
        }
    }
}

/// Where the index of the last applied entry is kept, in [`Table::Meta`], 8 bytes big-endian.
pub(crate) const CONSISTENT_INDEX: &[u8] = b"consistent_index";
/// Where its term is kept, likewise.
pub(crate) const TERM: &[u8] = b"term";
/// Where the storage version is kept, as text.
pub(crate) const STORAGE_VERSION: &[u8] = b"storageVersion";
