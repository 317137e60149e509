//! Maintenance: alarms, status, hashes, defragmentation, snapshots.

use super::pump::{Producer, Pump, Ready};
use super::{Error, Refused, decode};
use crate::drive::Waiter;
use crate::lines;
use crate::shared::Shared;
use apply::backend::Snapshot;
use apply::envelope::Kind;
use bytes::Bytes;
use net::rpc::{Code, Responder, Status, StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::alarm_request::AlarmAction;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Bytes of the database in one message of a snapshot.
const CHUNK_BYTES: usize = 32 * 1024;

/// `Maintenance.Alarm`. An action that does not exist is refused before the log.
pub(super) fn alarm(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::AlarmRequest>(body, reply)?;
    if AlarmAction::try_from(request.action).is_err() {
        return Err(Refused::new(reply, Error::UnknownAlarmAction));
    }
    shared.propose(Kind::Alarm, body, Waiter::Client(reply));
    Ok(())
}

/// `Maintenance.Status`.
pub(super) fn status(shared: &Arc<Shared>, reply: Responder) -> Result<(), Refused> {
    shared.on_apply(move |driver| {
        let shared = Arc::clone(&driver.shared);
        driver.publish_sizes();
        let gauges = &shared.gauges;
        let machine = driver.machine();
        let members = &machine.members;
        let mut errors = Vec::new();
        if gauges.leader.load(Ordering::Relaxed) == 0 {
            errors.push(Error::NoLeader.code_and_text().1.to_owned());
        }
        errors.extend(machine.alarms().list(0).iter().map(alarm_text));
        let downgrade = members.downgrade();
        let response = pb::StatusResponse {
            header: Some(shared.header_message(shared.reader.revision())),
            version: crate::VERSION.into(),
            db_size: gauges.db_size.load(Ordering::Relaxed) as i64,
            leader: gauges.leader.load(Ordering::Relaxed),
            raft_index: gauges.committed.load(Ordering::Relaxed),
            raft_term: gauges.applied_term.load(Ordering::Relaxed),
            raft_applied_index: gauges.applied.load(Ordering::Relaxed),
            errors,
            db_size_in_use: gauges.db_size_in_use.load(Ordering::Relaxed) as i64,
            is_learner: members.get(shared.member_id).is_some_and(|member| member.is_learner),
            storage_version: machine.storage_version().map(|v| v.to_string()).unwrap_or_default(),
            db_size_quota: shared.quota.shown_bytes(),
            downgrade_info: Some(pb::DowngradeInfo {
                enabled: downgrade.enabled,
                target_version: downgrade.target_version.clone(),
            }),
        };
        reply.reply(response.encode_to_vec().into());
    });
    Ok(())
}

/// An alarm as Go prints its message.
fn alarm_text(alarm: &pb::AlarmMember) -> String {
    let name = match pb::AlarmType::try_from(alarm.alarm) {
        Ok(kind) => kind.as_str_name().to_owned(),
        Err(_) => alarm.alarm.to_string(),
    };
    format!("memberID:{} alarm:{name}", alarm.member_id)
}

/// `Maintenance.Defragment`: reads and writes go on meanwhile.
pub(super) fn defragment(shared: &Arc<Shared>, reply: Responder) -> Result<(), Refused> {
    shared.on_apply(move |driver| driver.defragment(reply));
    Ok(())
}

/// `Maintenance.Hash`: of everything applied so far.
pub(super) fn hash(shared: &Arc<Shared>, reply: Responder) -> Result<(), Refused> {
    let call = reply.watch();
    shared.on_apply(move |driver| {
        driver.after_commit(move |shared| {
            let inner = Arc::clone(shared);
            // Here, where no snapshot of a leader comes in between: both are of one database, which
            // stays readable when another one takes its place.
            let (snapshot, revision) = (inner.backend().snapshot(), inner.reader.revision());
            shared.in_hashes(move |room| {
                if let Err(error) = room {
                    return reply.fail(error);
                }
                let begun = Instant::now();
                let Some(hash) = snapshot.hash_while(&|| !call.is_over()) else {
                    return reply.fail(given_up());
                };
                inner.metrics.keys.hash.observe(begun.elapsed().as_secs_f64());
                let header = Some(inner.header_message(revision));
                let response = pb::HashResponse { header, hash };
                reply.reply(response.encode_to_vec().into());
            });
        });
    });
    Ok(())
}

/// `Maintenance.HashKV`.
pub(super) fn hash_kv(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::HashKvRequest>(body, reply)?;
    let (inner, call) = (Arc::clone(shared), reply.watch());
    shared.in_hashes(move |room| {
        if let Err(error) = room {
            return reply.fail(error);
        }
        let begun = Instant::now();
        let hashed = inner.reader.hash_kv_while(request.revision, &|| !call.is_over()).transpose();
        let Some(hashed) = hashed else { return reply.fail(given_up()) };
        inner.metrics.keys.hash_kv.observe(begun.elapsed().as_secs_f64());
        let result = hashed.map(|found| {
            let response = pb::HashKvResponse {
                header: Some(inner.header_message(found.revision)),
                hash: found.hash,
                compact_revision: found.compact_revision,
                hash_revision: found.hash_revision,
            };
            response.encode_to_vec().into()
        });
        Shared::answer(reply, result.map_err(Error::from));
    });
    Ok(())
}

/// How a call ends whose client does not wait any more.
fn given_up() -> Status {
    Status::new(Code::Canceled, "context canceled")
}

// ---- Snapshot ----------------------------------------------------------------------------------

/// `Maintenance.Snapshot`: the database file with its SHA-256 behind.
pub(super) fn snapshot(shared: Arc<Shared>, out: StreamSender) -> Box<dyn StreamHandler> {
    Pump::open(shared, out, |shared, _, ready| SnapshotPieces::begin(shared, ready))
}

struct SnapshotPieces {
    snapshot: Snapshot,
    offset: u64,
    sum: Option<Sha256>,
    version: String,
    shared: Arc<Shared>,
    begun: Instant,
}

impl SnapshotPieces {
    /// Begins when everything applied is in the file.
    fn begin(shared: &Arc<Shared>, ready: Ready<SnapshotPieces>) {
        let begun = Instant::now();
        shared.on_apply(move |driver| {
            let view = driver.machine().backend.reader().view();
            let version = apply::membership::written_storage_version(&view);
            let version = version.map(|version| version.to_string()).unwrap_or_default();
            driver.after_commit(move |shared| {
                let (snapshot, shared) = (shared.backend().snapshot(), Arc::clone(shared));
                lines::snapshot_to_client(snapshot.size(), &version);
                let sum = Some(Sha256::new());
                ready.start(Ok(SnapshotPieces {
                    snapshot,
                    offset: 0,
                    sum,
                    version,
                    shared,
                    begun,
                }));
            });
        });
    }
}

impl Producer for SnapshotPieces {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let left = self.snapshot.size() - self.offset;
        let Some(sum) = &mut self.sum else { return Ok(None) };
        let blob = if left == 0 {
            let sum = self.sum.take().expect("it was just there");
            let (took, hash) = (self.begun.elapsed(), sum.finalize());
            self.shared.metrics.disk.backend_snapshot.observe(took.as_secs_f64());
            let bytes = self.snapshot.size();
            lines::snapshot_sent_to_client(bytes, &self.version, hash.len(), took);
            hash.to_vec()
        } else {
            let mut chunk = vec![0; CHUNK_BYTES.min(left as usize)];
            let n = self.snapshot.read_at(self.offset, &mut chunk);
            chunk.truncate(n);
            sum.update(&chunk);
            self.offset += n as u64;
            chunk
        };
        let response = pb::SnapshotResponse {
            header: None,
            remaining_bytes: self.snapshot.size() - self.offset,
            blob: blob.into(),
            version: self.version.clone(),
        };
        Ok(Some(response.encode_to_vec().into()))
    }
}
