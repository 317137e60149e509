//! From the key table back to the index.

use crate::Revision;
use crate::compaction;
use crate::hash::HashCache;
use crate::history::History;
use crate::index::Index;
use crate::store::{Shared, Store};
use backend::{Fault, Table};
use bytes::Bytes;
use prost::Message;
use proto::mvccpb::KeyValue;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// What was found beside the keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Keys that are attached to a lease, with its id.
    pub attachments: Vec<(Bytes, i64)>,
    /// A compaction that was promised but not finished.
    pub unfinished_compaction: Option<i64>,
}

#[derive(Default)]
struct Restoring {
    keys: HashMap<Box<[u8]>, (History, i64)>,
    last: i64,
    defect: Option<String>,
}

pub(crate) fn restore(backend: backend::Reader) -> Result<(Store, Restored), Fault> {
    let view = backend.view();
    let marks = compaction::Marks::read(&view);
    let mut restoring = Restoring::default();
    view.range(Table::Key, &[], &[], usize::MAX, |key, value| restoring.change(key, value));
    if let Some(what) = restoring.defect {
        return Err(Fault::Corrupt { table: Table::Key.name(), what });
    }
    let mut attachments = Vec::new();
    let mut keys = BTreeMap::new();
    for (key, (history, lease)) in restoring.keys {
        if lease != 0 {
            attachments.push((Bytes::copy_from_slice(&key), lease));
        }
        keys.insert(key, history);
    }
    let index = Index::default();
    index.restore(keys);
    let scheduled = marks.scheduled.unwrap_or(0);
    let finished = marks.finished.unwrap_or(0);
    let current = restoring.last.max(scheduled).max(finished).max(1);
    let compacted = marks.finished.max(marks.scheduled).unwrap_or(-1);
    let shared = Shared {
        index,
        current: AtomicI64::new(current),
        compacted: AtomicI64::new(compacted),
        backend,
        hashes: HashCache::default(),
    };
    let unfinished_compaction = marks.scheduled.filter(|_| marks.scheduled > marks.finished);
    let store = Store { shared: Arc::new(shared), compacting: None };
    Ok((store, Restored { attachments, unfinished_compaction }))
}

impl Restoring {
    fn change(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        let Some((revision, is_tombstone)) = Revision::decode(key) else {
            self.defect = Some(format!("{} is no revision", key.escape_ascii()));
            return ControlFlow::Break(());
        };
        self.last = revision.main;
        let Ok(kv) = KeyValue::decode(value) else {
            self.defect = Some(format!("revision {revision:?} holds no key-value"));
            return ControlFlow::Break(());
        };
        // A restore from a snapshot that bumps the revision leaves an empty one.
        if kv.key.is_empty() {
            return ControlFlow::Continue(());
        }
        match self.keys.get_mut(&kv.key[..]) {
            Some((history, lease)) if is_tombstone => {
                // A tombstone of a key that is gone already changes nothing.
                if history.get(i64::MAX).is_some() {
                    history.tombstone(revision);
                }
                *lease = 0;
            }
            Some((history, lease)) => {
                history.put(revision);
                *lease = kv.lease;
            }
            None => {
                let history = if is_tombstone {
                    History::restored_tombstone(revision)
                } else {
                    History::restored(revision, kv.create_revision, kv.version)
                };
                self.keys.insert(kv.key[..].into(), (history, kv.lease));
            }
        }
        ControlFlow::Continue(())
    }
}
