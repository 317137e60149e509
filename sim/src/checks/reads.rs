//! Linearizability: a read sees everything that anyone had applied before it was asked, and all of it as
//! the log says; what anyone had applied before a write was asked comes before it.

use super::{Violation, ensure};
use crate::model::{KeyState, Model};
use bytes::Bytes;
use mvcc::{RangeOptions, Reader};
use std::collections::BTreeMap;

const PROPERTY: &str = "linearizability";

/// What clients were told.
#[derive(Default)]
pub(crate) struct Reads {
    served: u64,
    acknowledged: u64,
}

impl Reads {
    /// Reads served and writes acknowledged so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.served, self.acknowledged)
    }

    /// A client hears that its write is done.
    pub(crate) fn acknowledged(&mut self, index: u64, floor: u64) -> Result<(), Violation> {
        self.acknowledged += 1;
        ensure(PROPERTY, index > floor, || {
            format!("a write sent after entry {floor} was applied is entry {index}")
        })?;
        Ok(())
    }

    /// A client's read is served from a member that has applied this much.
    pub(crate) fn served(
        &mut self,
        model: &Model,
        reader: &Reader,
        applied: u64,
        floor: u64,
    ) -> Result<(), Violation> {
        self.served += 1;
        ensure(PROPERTY, applied >= floor, || {
            format!("a read sent after entry {floor} was applied sees {applied} only")
        })?;
        content(model, reader, applied)
    }

    /// A member holds this, whether anyone reads it or not.
    pub(crate) fn shows(
        &self,
        model: &Model,
        reader: &Reader,
        applied: u64,
    ) -> Result<(), Violation> {
        content(model, reader, applied)
    }
}

/// A member's keys are what the log says.
fn content(model: &Model, reader: &Reader, applied: u64) -> Result<(), Violation> {
    let all = RangeOptions {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..RangeOptions::default()
    };
    let found = reader.read().range(&all).map_err(|refusal| Violation {
        property: PROPERTY,
        why: format!("a read of all keys is refused: {refusal:?}"),
    })?;
    let now: BTreeMap<Bytes, KeyState> = found.kvs.iter().map(|kv| state(&kv.decode())).collect();
    let expected = model.content_at(applied);
    ensure(PROPERTY, now == expected, || {
        format!("after entry {applied} the keys are {now:?} and should be {expected:?}")
    })
}

fn state(kv: &proto::mvccpb::KeyValue) -> (Bytes, KeyState) {
    let state = KeyState {
        value: kv.value.clone(),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    };
    (kv.key.clone(), state)
}
