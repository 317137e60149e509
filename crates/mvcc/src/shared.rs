//! What the writer of a store and its readers share.

use crate::hash::HashCache;
use crate::index::Index;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// What the writer and the readers share.
pub(crate) struct Shared {
    pub(crate) index: Index,
    pub(crate) current: AtomicI64,
    pub(crate) compacted: AtomicI64,
    pub(crate) backend: backend::Reader,
    pub(crate) hashes: HashCache,
}

/// Where readers find the state; another store can take its place.
pub(crate) type Slot = Arc<RwLock<Arc<Shared>>>;
