//! Keys with history: revisions, range, put, delete, compaction, hash.
//!
//! ```text
//! key index (memory)   key -> generations of revisions
//! key table (backend)  revision -> encoded mvccpb.KeyValue, exactly a field of RangeResponse
//! ```
//! A write changes the index first and becomes visible by [`Store::publish`]: readers ask for a
//! revision, and none asks for one that is not published. The index is read while it is written,
//! a bounded number of keys at a time.
//!
//! Reference: `server/storage/mvcc`, `server/etcdserver/txn/range.go`.

mod bump;
mod compacting;
mod compaction;
mod hash;
mod hash_kv;
mod history;
mod index;
mod kv;
mod leaf;
mod names;
mod node;
mod range;
mod restore;
mod revision;
mod shared;
mod store;
mod tree;
mod write;

pub use bump::bump_revision;
pub use compaction::Progress;
pub use hash::HashKv;
pub use kv::Kv;
pub use range::{RangeOptions, RangeResult, RangeSummary, Refusal};
pub use restore::{RestoreJob, Restored, RestoredPart};
pub use revision::Revision;
pub use store::{ReadTxn, Reader, Store};
pub use write::{Change, ChangeEvent, Deleted, Operations, Put, WriteTxn};

pub use backend::Fault;
