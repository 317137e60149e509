//! Maintenance: alarms, status, hashes, defragmentation, snapshots.

use crate::caller::{Waiter, ticket};
use crate::pump::{Producer, Pump, Ready};
use crate::refused::{Refused, decode};
use crate::{Call, Error, Services, lines};
use apply::Kind;
use backend::Snapshot;
use bytes::Bytes;
use net::rpc::{Code, Responder, Status, StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::alarm_request::AlarmAction;
use replica::turn::{Ask, StatusReport};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of the database in one message of a snapshot.
const CHUNK_BYTES: usize = 32 * 1024;

/// `Maintenance.Alarm`. An action that does not exist is refused before the log.
pub(crate) fn alarm(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::AlarmRequest>(body, reply)?;
    if AlarmAction::try_from(request.action).is_err() {
        return Err(Refused::new(reply, Error::UnknownAlarmAction));
    }
    services.propose(call, Kind::Alarm, body, Waiter::Client(reply));
    Ok(())
}

/// `Maintenance.Status`.
pub(crate) fn status(
    services: &Arc<Services>,
    _call: &Call,
    _body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let inner = Arc::clone(services);
    services.ask(Ask::Status(ticket(move |report| {
        reply.reply(status_response(&inner, report).encode_to_vec().into());
    })));
    Ok(())
}

fn status_response(services: &Services, report: StatusReport) -> pb::StatusResponse {
    let figures = services.figures();
    let mut errors = Vec::new();
    if figures.leader() == 0 {
        errors.push(Error::NoLeader.code_and_text().1.to_owned());
    }
    errors.extend(report.alarms.iter().map(alarm_text));
    pb::StatusResponse {
        header: Some(services.header_message(services.reader.revision())),
        version: proto::VERSION.into(),
        db_size: report.sizes.total as i64,
        leader: figures.leader(),
        raft_index: figures.committed(),
        raft_term: figures.applied_term(),
        raft_applied_index: figures.applied(),
        errors,
        db_size_in_use: report.sizes.in_use as i64,
        is_learner: report.is_learner,
        storage_version: report.storage_version.map(|v| v.to_string()).unwrap_or_default(),
        db_size_quota: services.quota.shown_bytes(),
        downgrade_info: Some(pb::DowngradeInfo {
            enabled: report.downgrade_target.is_some(),
            target_version: report.downgrade_target.unwrap_or_default(),
        }),
    }
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
pub(crate) fn defragment(
    services: &Arc<Services>,
    _call: &Call,
    _body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let answer = move |done: Result<(), String>| match done {
        Ok(()) => reply.reply(Bytes::new()),
        Err(why) => reply.fail(Status::new(Code::Unknown, why)),
    };
    services.ask(Ask::Defragment(ticket(answer)));
    Ok(())
}

/// `Maintenance.Hash`: of everything applied so far.
pub(crate) fn hash(
    services: &Arc<Services>,
    _call: &Call,
    _body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (inner, watch) = (Arc::clone(services), reply.watch());
    services.when_durable(move || {
        let services = Arc::clone(&inner);
        // Here, where no snapshot of a leader comes in between: both are of one database, which
        // stays readable when another one takes its place.
        let (snapshot, revision) = (inner.member().database().snapshot(), inner.reader.revision());
        services.in_hashes(move |room| {
            if let Err(error) = room {
                return reply.fail(error);
            }
            let begun = Instant::now();
            let Some(hash) = snapshot.hash_while(&|| !watch.is_gone()) else {
                return reply.fail(given_up());
            };
            inner.metrics.keys.hash.observe(begun.elapsed().as_secs_f64());
            let header = Some(inner.header_message(revision));
            let response = pb::HashResponse { header, hash };
            reply.reply(response.encode_to_vec().into());
        });
    });
    Ok(())
}

/// `Maintenance.HashKV`.
pub(crate) fn hash_kv(
    services: &Arc<Services>,
    _call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::HashKvRequest>(body, reply)?;
    let (inner, watch) = (Arc::clone(services), reply.watch());
    services.in_hashes(move |room| {
        if let Err(error) = room {
            return reply.fail(error);
        }
        let begun = Instant::now();
        let hashed = inner.reader.hash_kv_while(request.revision, &|| !watch.is_gone()).transpose();
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
        Services::answer(reply, result.map_err(Error::from));
    });
    Ok(())
}

/// How a call ends whose client does not wait any more.
fn given_up() -> Status {
    Status::new(Code::Canceled, "context canceled")
}

// ---- Snapshot ----------------------------------------------------------------------------------

/// `Maintenance.Snapshot`: the database file with its SHA-256 behind.
pub(crate) fn snapshot(
    services: &Arc<Services>,
    call: &Call,
    out: StreamSender,
) -> Box<dyn StreamHandler> {
    Pump::open(services, call, out, |services, _, _, ready| SnapshotPieces::begin(services, ready))
}

struct SnapshotPieces {
    snapshot: Snapshot,
    offset: u64,
    sum: Option<Sha256>,
    version: String,
    services: Arc<Services>,
    begun: Instant,
}

impl SnapshotPieces {
    /// Begins when everything applied is in the file.
    fn begin(services: &Arc<Services>, ready: Ready<SnapshotPieces>) {
        let (begun, services) = (Instant::now(), Arc::clone(services));
        Arc::clone(&services).when_durable(move || {
            let database = services.member().database();
            let version = membership::written_storage_version(&database.view());
            let version = version.map(|version| version.to_string()).unwrap_or_default();
            let snapshot = database.snapshot();
            lines::snapshot_to_client(snapshot.size(), &version);
            let sum = Some(Sha256::new());
            let offset = 0;
            ready.start(Ok(SnapshotPieces { snapshot, offset, sum, version, services, begun }));
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
            self.services.metrics.disk.backend_snapshot.observe(took.as_secs_f64());
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
