//! Clients: each sends one request at a time, to any member, and remembers what it was told.

use crate::Rng;
use crate::model::Model;
use crate::requests;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A client that has heard nothing for so long does not wait any longer.
const PATIENCE_US: u64 = 2_000_000;

/// What a client asks of a member.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// A write.
    Write(Bytes),
    /// All keys, linearizably.
    Read,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    client: usize,
    /// Where, and in which life.
    pub(crate) place: usize,
    pub(crate) life: u32,
    /// What had been acknowledged when it was sent.
    pub(crate) floor: u64,
    since_us: u64,
}

/// All clients.
pub(crate) struct Workload {
    /// What each waits for.
    waits: Vec<Option<u64>>,
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
    keys: u64,
    next_lease: i64,
}

impl Workload {
    pub(crate) fn new(clients: usize, keys: u64) -> Workload {
        let asked = BTreeMap::new();
        Workload { waits: vec![None; clients + 1], asked, next_id: 1, keys, next_lease: 1 }
    }

    /// Clients; the one of this number asks whether the cluster is alive.
    pub(crate) fn clients(&self) -> usize {
        self.waits.len() - 1
    }

    /// Whether a request asked only whether the cluster is alive.
    pub(crate) fn is_probe(&self, asked: &Asked) -> bool {
        asked.client == self.clients()
    }

    /// An id for a request.
    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// What a client asks next, where it is not waiting; what it has waited for too long is given
    /// up, and may still happen.
    pub(crate) fn next(
        &mut self,
        client: usize,
        now_us: u64,
        model: &Model,
        rng: &mut Rng,
    ) -> Option<(u64, Ask)> {
        if let Some(id) = self.waits[client] {
            let since_us = self.asked.get(&id).map_or(0, |asked| asked.since_us);
            if now_us < since_us + PATIENCE_US {
                return None;
            }
            self.forget(id);
        }
        let id = self.id();
        Some((id, self.ask(id, model, rng)))
    }

    fn ask(&mut self, id: u64, model: &Model, rng: &mut Rng) -> Ask {
        let key = rng.below(self.keys);
        let lease = rng.pick(&model.leases()).copied().unwrap_or(0);
        let write = match rng.below(100) {
            0..30 => return Ask::Read,
            30..62 => requests::put(id, key, 0),
            62..72 => requests::put(id, key, lease),
            72..80 => requests::delete(id, key, key + rng.between(1, 3)),
            80..90 => {
                let seen =
                    if rng.per_mille(800) { model.mod_revision(&requests::key(key)) } else { 0 };
                requests::txn(id, key, seen)
            }
            90..93 => requests::compact(id, self.revision_to_compact(model, rng)),
            93..97 => {
                self.next_lease += 1;
                requests::grant(id, self.next_lease, rng.between(1, 4) as i64)
            }
            _ => requests::revoke(id, lease),
        };
        Ask::Write(write)
    }

    fn revision_to_compact(&self, model: &Model, rng: &mut Rng) -> i64 {
        // After a compaction at revision 0, `HashKV` of the current revision answers with the hash
        // kept from then, as the reference does.
        let (low, high) = (model.compacted().max(1) as u64, model.revision() as u64);
        rng.between(low, high + 1) as i64
    }

    /// A request was sent.
    pub(crate) fn sent(
        &mut self,
        id: u64,
        client: usize,
        asked: (usize, u32),
        floor: u64,
        now_us: u64,
    ) {
        let (place, life) = asked;
        self.waits[client] = Some(id);
        self.asked.insert(id, Asked { client, place, life, floor, since_us: now_us });
    }

    /// A request was answered, where somebody waits for it.
    pub(crate) fn answered(&mut self, id: u64, place: usize, life: u32) -> Option<Asked> {
        let asked = *self.asked.get(&id)?;
        if (asked.place, asked.life) != (place, life) {
            return None;
        }
        self.forget(id);
        Some(asked)
    }

    /// Nobody waits for a request any more.
    pub(crate) fn forget(&mut self, id: u64) {
        if let Some(asked) = self.asked.remove(&id)
            && self.waits[asked.client] == Some(id)
        {
            self.waits[asked.client] = None;
        }
    }

    /// A member is gone: what it was asked may happen or not.
    pub(crate) fn lost(&mut self, place: usize) {
        let of_it = |(id, asked): (&u64, &Asked)| (asked.place == place).then_some(*id);
        let lost: Vec<u64> = self.asked.iter().filter_map(of_it).collect();
        lost.into_iter().for_each(|id| self.forget(id));
    }
}
