//! Messages and databases on their way.

use super::{Cluster, Event};
use crate::checks::Violation;
use crate::member::CoreEvent;
use crate::plan::Mistake;
use crate::snapshots;
use proto::raftpb::{Message, Snapshot};
use replica::turn::Urgency;
use replica::{Fault, Intake};
use std::path::Path;

/// Lost messages that the sender notices, in a thousand.
const NOTICED: u64 = 300;
/// A database that takes longer is given up by who sends it, in microseconds.
const DATABASE_MAX_US: u64 = 10_000_000;
/// Where members look for databases.
const SNAP_DIR: &str = "m.etcd/member/snap";

impl Cluster {
    pub(super) fn send(&mut self, from: usize, message: Message) {
        let Some(&to) = self.places.get(&message.to()) else { return };
        let delays = self.network.send(from, to, &self.weather, &mut self.rng);
        if delays.is_empty() && self.rng.per_mille(NOTICED) {
            self.unreachable(from, message.to());
        }
        for delay in delays {
            self.scheduler.after(delay, Event::Arrive(message.clone()));
        }
    }

    fn unreachable(&mut self, place: usize, id: u64) {
        self.tell_core(place, CoreEvent::Unreachable(id), Urgency::Urgent);
    }

    pub(super) fn arrive(&mut self, message: Message) {
        let (from, to) = (self.places[&message.from()], self.places[&message.to()]);
        let details = [message.r#type() as u64, from as u64, message.term(), message.index()];
        self.note(to, "arrives", details);
        match &self.nodes[to].member {
            None if self.rng.per_mille(NOTICED) => self.unreachable(from, message.to()),
            None => {}
            // Members that were removed are not listened to.
            Some(member) if member.common.members().is_removed(message.from()) => {}
            Some(_) => {
                self.tell_core(to, CoreEvent::Step(Box::new(message)), Urgency::Urgent);
            }
        }
    }

    // ---- databases -------------------------------------------------------------------------

    pub(super) fn send_database(&mut self, place: usize, message: Message, database: Vec<u8>) {
        let from = (place, self.nodes[place].life);
        let Some(&to) = self.places.get(&message.to()) else { return };
        let delays = self.network.send(place, to, &self.weather, &mut self.rng);
        if delays.is_empty() {
            let delay = self.rng.between(1_000, 1_000_000);
            self.scheduler.after(delay, Event::Delivered { from, to: message.to(), ok: false });
        }
        for delay in delays {
            let (message, database) = (message.clone(), database.clone());
            let delay = delay * 3;
            if delay > DATABASE_MAX_US {
                let given_up = Event::Delivered { from, to: message.to(), ok: false };
                self.scheduler.after(DATABASE_MAX_US, given_up);
            } else {
                self.scheduler.after(delay, Event::Database { from, message, database });
            }
        }
    }

    pub(super) fn database_arrives(
        &mut self,
        from: (usize, u32),
        message: Message,
        database: &[u8],
    ) -> Result<(), Violation> {
        let id = message.to();
        let to = self.places[&id];
        let snapshot = message.snapshot.clone().unwrap_or_default();
        let index = snapshot.metadata.clone().unwrap_or_default().index();
        self.note(to, "database arrives", [from.0 as u64, index, database.len() as u64, 0]);
        let can = self.nodes[to].member.is_some() && !self.network.is_cut(from.0, to);
        let ok = can && self.take_database(to, &snapshot, database)?;
        if ok {
            self.counts.databases += 1;
            self.tell_core(to, CoreEvent::Step(Box::new(message)), Urgency::Urgent);
        }
        let delay = self.rng.between(100, 5_000);
        self.scheduler.after(delay, Event::Delivered { from, to: id, ok });
        Ok(())
    }

    fn take_database(
        &mut self,
        to: usize,
        snapshot: &Snapshot,
        bytes: &[u8],
    ) -> Result<bool, Violation> {
        let node = &self.nodes[to];
        let saved = if self.plan.mistake == Some(Mistake::UnsyncedSnapshot) {
            let index = snapshot.metadata.clone().unwrap_or_default().index();
            let saved = snapshots::save_unsynced(&node.disk, Path::new(SNAP_DIR), index, bytes);
            saved.map_err(|source| Fault::Io { path: SNAP_DIR.into(), what: "cannot save", source })
        } else {
            let intake = Intake::new(node.disk.disk(), &node.options);
            snapshots::save(&intake, snapshot, bytes)
        };
        match saved {
            Ok(()) => Ok(true),
            Err(fault) => {
                self.fails(to, &fault)?;
                Ok(false)
            }
        }
    }

    pub(super) fn delivered(&mut self, from: (usize, u32), to: u64, ok: bool) {
        let (place, life) = from;
        if !self.lives(place, life) {
            return;
        }
        if !ok {
            self.tell_core(place, CoreEvent::Unreachable(to), Urgency::Urgent);
        }
        let event = CoreEvent::SnapshotSent { to, delivered: ok };
        self.tell_core(place, event, Urgency::Urgent);
    }
}
