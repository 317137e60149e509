//! The applier's turn: as `server`'s apply thread.

use super::{ApplyEvent, CoreEvent, FileJob, Member, Out};
use crate::checks;
use crate::requests;
use proto::raftpb::{self, Message, Snapshot, SnapshotMetadata};
use replica::Fault;
use std::collections::btree_map::Entry;

/// Hashes are taken where the index is a multiple of this.
const HASH_EVERY: u64 = 16;
/// Leases revoked in one scan.
const REVOKES_MAX: usize = 500;
/// A revoke that has not been applied after this long is proposed again, in milliseconds.
const REVOKE_RETRY_MS: u64 = 3_000;
/// Added to each lease when a member begins to lead, in milliseconds.
const EXTEND_MS: u64 = 500;

impl Member {
    pub(super) fn apply_turn(&mut self, now_us: u64, out: &mut Vec<Out>) -> Result<(), Fault> {
        let now_ms = now_us / 1000;
        while let Some(event) = self.apply_in.pop_front() {
            match event {
                ApplyEvent::Entries(entries) => self.apply(&entries, now_ms, out)?,
                ApplyEvent::Restore(snapshot) => {
                    // What waited to be applied is part of it.
                    self.held.clear();
                    self.restoring = Some(snapshot);
                }
                ApplyEvent::SendSnapshot(message) => {
                    self.snapshots_asked.push(*message);
                    self.commit_due = true;
                }
                ApplyEvent::Committed(done) => {
                    if let Some(due) = self.applier.complete(done) {
                        self.record(due);
                    }
                    let asked = std::mem::take(&mut self.snapshots_next);
                    asked.into_iter().for_each(|message| self.send_snapshot(message, out));
                }
                ApplyEvent::Defragmented(done) => {
                    self.applier.complete_defragment(done)?;
                }
                ApplyEvent::Defragment => self.defragment_asked = true,
            }
            self.restore_if_ready()?;
        }
        if self.applier.machine.store.is_compacting() {
            self.applier.compaction_step();
        }
        self.commit_if_due(out);
        self.apply_held(now_ms, out)?;
        self.scan_leases(now_ms);
        self.serve_reads(out);
        Ok(())
    }

    // ---- entries ---------------------------------------------------------------------------

    fn must_wait(&self) -> bool {
        let backend = &self.applier.machine.backend;
        self.restoring.is_some() || (backend.is_full() && backend.job_is_out())
    }

    fn apply(
        &mut self,
        entries: &[raftpb::Entry],
        now_ms: u64,
        out: &mut Vec<Out>,
    ) -> Result<(), Fault> {
        if !self.held.is_empty() || self.must_wait() {
            self.held.extend_from_slice(entries);
            return Ok(());
        }
        self.apply_now(entries, now_ms, out)
    }

    fn apply_held(&mut self, now_ms: u64, out: &mut Vec<Out>) -> Result<(), Fault> {
        if self.held.is_empty() || self.must_wait() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.apply_now(&held, now_ms, out)
    }

    fn apply_now(
        &mut self,
        entries: &[raftpb::Entry],
        now_ms: u64,
        out: &mut Vec<Out>,
    ) -> Result<(), Fault> {
        self.follow_leadership(now_ms);
        let ends =
            |entry: &raftpb::Entry, _: &raftpb::Entry| !entry.index().is_multiple_of(HASH_EVERY);
        for part in entries.chunk_by(ends) {
            let before = self.applied();
            let awaited = &self.awaited;
            let applied = self.applier.apply(part, |id| awaited.contains(&id), |_| {})?;
            for (entry, outcome) in part.iter().zip(applied.outcomes) {
                let is_replay = entry.index() <= before;
                out.push(Out::Applied(entry.clone(), Box::new(outcome), is_replay));
            }
            if self.applied() > before && applied.index.is_multiple_of(HASH_EVERY) {
                out.push(Out::Hashed { index: self.applied(), hashes: self.hashes() });
            }
            let conf_changes = applied.conf_changes;
            self.tell(CoreEvent::Applied { index: applied.index, conf_changes });
        }
        Ok(())
    }

    /// What everything applied hashes to.
    pub(crate) fn hashes(&self) -> checks::Hashes {
        checks::hashes_of(&self.reader, &self.backend_reader)
    }

    // ---- commits ---------------------------------------------------------------------------

    fn commit_if_due(&mut self, out: &mut Vec<Out>) {
        let backend = &self.applier.machine.backend;
        if !self.commit_due && !backend.is_full() {
            return;
        }
        self.commit_due = false;
        if backend.job_is_out() {
            return;
        }
        if std::mem::take(&mut self.defragment_asked)
            && let Some(job) = self.applier.defragment()
        {
            self.file_in.push_back(FileJob::Defragment(job));
            return;
        }
        let asked = std::mem::take(&mut self.snapshots_asked);
        match self.applier.freeze() {
            Some(job) => {
                self.snapshots_next = asked;
                self.file_in.push_back(FileJob::Commit(job));
            }
            None => asked.into_iter().for_each(|message| self.send_snapshot(message, out)),
        }
    }

    // ---- snapshots -------------------------------------------------------------------------

    /// The message that raft made, at the place that the database file is at.
    fn send_snapshot(&mut self, mut message: Message, out: &mut Vec<Out>) {
        let Some(due) = self.applier.committed().cloned() else {
            let to = message.to();
            return self.tell(CoreEvent::SnapshotSent { to, delivered: false });
        };
        let metadata = SnapshotMetadata {
            conf_state: Some(due.conf_state),
            index: Some(due.index),
            term: Some(due.term),
        };
        message.snapshot = Some(Snapshot { data: Some(due.data.into()), metadata: Some(metadata) });
        let snapshot = self.backend_reader.snapshot();
        let mut database = vec![0; snapshot.size() as usize];
        let mut at = 0;
        while at < database.len() {
            at += snapshot.read_at(at as u64, &mut database[at..]);
        }
        out.push(Out::SendSnapshot(message, database));
    }

    fn restore_if_ready(&mut self) -> Result<(), Fault> {
        if self.applier.machine.backend.job_is_out() {
            return Ok(());
        }
        let Some(snapshot) = self.restoring.take() else { return Ok(()) };
        self.applier.install(&snapshot)?;
        self.backend_reader = self.applier.machine.backend.reader();
        let index = self.applied();
        self.applied_ahead = self.applied_ahead.max(index);
        self.tell(CoreEvent::Applied { index, conf_changes: Vec::new() });
        Ok(())
    }

    // ---- leases ----------------------------------------------------------------------------

    fn follow_leadership(&mut self, now_ms: u64) {
        let lessor = &mut self.applier.machine.lessor;
        match (self.leads, lessor.is_primary()) {
            (true, false) => lessor.promote(now_ms, EXTEND_MS),
            (false, true) => lessor.demote(),
            _ => lessor.tick(now_ms),
        }
    }

    fn scan_leases(&mut self, now_ms: u64) {
        if !std::mem::take(&mut self.leases_due) {
            return;
        }
        self.follow_leadership(now_ms);
        self.revoking.retain(|_, since| now_ms < *since + REVOKE_RETRY_MS);
        for lease in self.applier.machine.lessor.expired(now_ms, REVOKES_MAX) {
            if let Entry::Vacant(vacant) = self.revoking.entry(lease) {
                vacant.insert(now_ms);
                self.tell(CoreEvent::Propose { id: 0, data: requests::revoke(0, lease) });
            }
        }
    }
}
