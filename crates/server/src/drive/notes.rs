//! What happens within a turn, in the log and the metrics.

use crate::lines;
use crate::shared::Shared;
use replica::turn::{Note, Observer, SizeFigures, Time};
use services::{Error, Member};
use std::sync::Arc;
use std::time::Instant;

/// Logs and measures what one turn does.
pub(crate) struct Notes {
    shared: Arc<Shared>,
    /// When the entry began that is being applied, or the step of a compaction.
    step: Instant,
    compacting_since: Instant,
    defragmenting: (Instant, SizeFigures),
}

impl Notes {
    /// Nothing has happened yet.
    pub(crate) fn new(shared: Arc<Shared>) -> Notes {
        let now = Instant::now();
        let defragmenting = (now, SizeFigures::default());
        Notes { shared, step: now, compacting_since: now, defragmenting }
    }

    fn since(&self, begun: Time) -> Time {
        self.shared.ports.now().saturating_sub(begun)
    }
}

impl Observer for Notes {
    fn note(&mut self, note: Note<'_>) {
        let shared = &self.shared;
        let metrics = &shared.metrics;
        match note {
            Note::ApplyBegins => self.step = Instant::now(),
            Note::Applied { outcome, .. } => {
                let now = Instant::now();
                metrics.count_applied(outcome, now - self.step);
                self.step = now;
            }
            Note::Answered { kind, begun } => {
                metrics.requests.answered(kind, true, self.since(begun));
            }
            Note::ProposalFailed { kind, begun } => {
                metrics.member.proposals_failed.inc();
                metrics.requests.answered(kind, false, self.since(begun));
            }
            Note::ReadsFailed => metrics.member.reads_failed.inc(),
            Note::LeaseExpired => metrics.leases.expired.inc(),
            Note::LeaseRenewed => metrics.leases.renewed.inc(),
            Note::Alarms(alarms) => metrics.member.show_alarms(alarms),
            Note::ClusterVersion(version) => metrics.member.set_cluster_version(version),
            Note::OutOfSpace => {
                let quota = shared.services.quota.limit_bytes().unwrap_or(0);
                lines::out_of_space(quota, Error::NoSpace.code_and_text().1);
            }
            note => self.note_rarely(note),
        }
    }
}

impl Notes {
    /// What happens once in many requests.
    fn note_rarely(&mut self, note: Note<'_>) {
        let shared = &self.shared;
        let own_id = shared.member_id;
        match note {
            Note::Leader { before, leader, term } => {
                lines::leader(own_id, before, leader, term);
                shared.metrics.member.leader_seen(leader);
            }
            Note::Role { role, term } => lines::role(own_id, role, term),
            Note::ElectionShortened { ticks, active_peers } => {
                lines::election_shortened(own_id, &shared.ticks, ticks, active_peers);
            }
            Note::SnapshotDue { due, before, count } => {
                lines::triggers_snapshot(own_id, due, before, count);
            }
            Note::SnapshotRecorded { index } => {
                lines::snapshot_recorded(index);
                shared.metrics.member.snapshot_applying.set(1);
            }
            Note::SnapshotApplying { begins: true, snapshot, applied, index, term } => {
                lines::applies_snapshot("applying snapshot", snapshot, applied, index, term);
            }
            Note::SnapshotApplying { begins: false, snapshot, applied, index, term } => {
                shared.metrics.member.snapshot_applying.set(0);
                lines::configuration(own_id, &shared.ports.roster.members().conf_state());
                lines::applies_snapshot("applied snapshot", snapshot, applied, index, term);
            }
            note => self.note_of_the_file(note),
        }
    }

    fn note_of_the_file(&mut self, note: Note<'_>) {
        let (shared, now) = (&self.shared, Instant::now());
        let metrics = &shared.metrics.keys.compaction;
        match note {
            Note::CompactionBegins { revision } => {
                self.compacting_since = now;
                lines::compacts(revision);
            }
            Note::CompactionStepBegins { .. } => self.step = now,
            Note::CompactionStepEnds { of_index, .. } => metrics.step(of_index, now - self.step),
            Note::CompactionEnds { revision, rows, sizes } => {
                let took = now - self.compacting_since;
                lines::compacted(revision, took, rows, sizes);
                metrics.done(took, rows);
            }
            Note::DefragmentBegins { sizes } => {
                self.defragmenting = (now, sizes);
                lines::defragments(&shared.database, sizes);
            }
            Note::DefragmentEnds { sizes } => {
                let (begun, before) = self.defragmenting;
                lines::defragmented(&shared.database, before, sizes, now - begun);
            }
            Note::StorageVersionDiffers { cluster, storage } => {
                lines::storage_version_differs(cluster, storage);
            }
            Note::StorageVersionFailed { cluster, error } => {
                lines::storage_version_failed(cluster, &error);
            }
            Note::StorageVersion { version, downgrade_target } => {
                lines::storage_version(version, downgrade_target);
            }
            _ => {}
        }
    }
}
