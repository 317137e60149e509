//! One bolt file used etcd's way: batched commits, read-your-writes, tables, and the applied index in every commit.
//!
//! ```text
//! ApplyTxn --finish--> active layer --freeze--> frozen layer --CommitJob, any thread--> bolt file
//! View = newest committed state + frozen layer + active layer
//! ```
//! Always true:
//! 1. Tables change only through an [`ApplyTxn`], which puts the applied index beside its effects,
//!    or a [`MaintenanceTxn`], which leaves it alone; both borrow the backend mutably, so neither
//!    can run into the other.
//! 2. A layer is committed whole, with the applied index of its last entry. Effects and index
//!    are therefore one atomic write.
//! 3. While a layer is being written to the file, writes go on into a fresh one.
//!
//! Reference: `server/storage/backend`, `server/storage/schema`.

mod backend;
mod commit;
mod defrag;
mod entry_id;
mod fault;
mod layer;
mod table;
mod txn;
mod view;

pub use backend::{Backend, Options, Reader};
pub use commit::{CommitJob, Committed};
pub use defrag::{DefragJob, DefragResult, Defragmented};
pub use entry_id::EntryId;
pub use fault::Fault;
pub use layer::Savepoint;
pub use table::Table;
pub use txn::{ApplyTxn, MaintenanceTxn};
pub use view::{Keys, Snapshot, View};
