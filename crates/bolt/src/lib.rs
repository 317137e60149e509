//! A copy-on-write B+tree in one file, in bbolt's bytes; with check and compact.
//!
//! ```text
//! page 0   meta  | two copies; the valid one with the higher transaction id rules
//! page 1   meta  |
//! page 2.. freelist, branch and leaf pages; a page that is too long for one runs over
//!          into the following ones
//! ```
//! A commit writes changed pages to free places, syncs, then writes the older meta page and syncs
//! again: a crash leaves the last or the previous state, whole. Readers hold the mapping and the
//! meta they began with; pages that a transaction frees are used again only when no reader is
//! older than it.
//!
//! Every reachable page is checked when a file is opened ([`Error::Corrupt`] names the page), so
//! reading afterwards does not need to doubt offsets.
//!
//! Reference: go.etcd.io/bbolt v1.5.0 (`internal/common`, `freelist.go`, `node.go`, `tx.go`).

mod bucket;
mod bucket_mut;
mod check;
mod compact;
mod cursor;
mod db;
mod error;
mod freelist;
mod meta;
mod node;
mod open;
mod options;
mod order;
mod output;
mod page;
mod pending;
mod read;
mod rebalance;
mod search;
mod spill;
mod stack;
mod store;
mod walk;
mod write;

pub use bucket::Bucket;
pub use bucket_mut::BucketMut;
pub use check::CheckError;
pub use compact::compact;
pub use cursor::Cursor;
pub use db::{Db, Stats};
pub use error::Error;
pub use options::{Freelist, Options};
pub use pending::PendingCursor;
pub use read::ReadTxn;
pub use walk::Item;
pub use write::{CommitStats, WriteTxn};

/// The longest key, in bytes.
pub const KEY_MAX: usize = 32768;
/// The longest value, in bytes.
pub const VALUE_MAX: usize = (1 << 31) - 2;
