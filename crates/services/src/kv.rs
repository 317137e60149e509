//! KV: reads are answered here, writes go through the log.

use crate::caller::Waiter;
use crate::pump::{Producer, Pump, Ready};
use crate::refused::{Refused, decode};
use crate::{Call, Error, Services, check};
use apply::Kind;
use apply::{RangeWriter, Reply, TxnReply, quota};
use bytes::{Bytes, BytesMut};
use metrics::Read;
use mvcc::{RangeOptions, RangeResult, ReadTxn};
use net::rpc::{Responder, StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::request_op::Request as Op;
use std::sync::Arc;
use std::time::Instant;

/// Ranges of at most this many keys are read on the thread that brought them, if that is all they
/// look at.
const SHORT_RANGE_KEYS: i64 = 256;
/// The first piece of a streamed range has this many keys.
const FIRST_CHUNK_KEYS: i64 = 10;

/// `KV.Range`.
pub(crate) fn range(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::RangeRequest>(body, reply)?;
    if let Err(error) = check::range(&request) {
        return Err(Refused::new(reply, error));
    }
    if !request.serializable && !services.may_read() {
        if services.common().is_learner() {
            return Err(Refused::new(reply, Error::NotForLearners));
        }
        let inner = Arc::clone(services);
        services.linearizable(call, move |confirmed| match confirmed {
            Ok(()) => serve(&inner, request, reply),
            Err(error) => reply.fail(error),
        });
    } else {
        serve(services, request, reply);
    }
    Ok(())
}

/// A message: its first piece and those that follow.
type Pieces = (Bytes, Vec<Bytes>);

/// Reads at once, or when there is room for a large answer.
fn serve(services: &Arc<Services>, request: pb::RangeRequest, reply: Responder) {
    if reply.is_gone() {
        return;
    }
    let may_go_at_once = if request.range_end.is_empty() {
        !services.memory.are_overfull()
    } else {
        is_short(&request) && !services.memory.are_full()
    };
    if may_go_at_once {
        Services::answer_in_pieces(reply, read(services, &request));
    } else {
        let inner = Arc::clone(services);
        read_in_turn(services, reply, move || read(&inner, &request));
    }
}

/// Whether a range looks at few keys, however many there are: the first ones in the order of the index, all
/// of which are wanted, at the revision for which it knows how many there are.
fn is_short(request: &pb::RangeRequest) -> bool {
    let in_key_order = request.sort_target == SortTarget::Key as i32
        && request.sort_order != SortOrder::Descend as i32;
    (1..=SHORT_RANGE_KEYS).contains(&request.limit)
        && in_key_order
        && request.revision == 0
        && !check::has_filters(request)
}

/// Whether a transaction that only reads looks at single keys alone.
fn is_short_txn(request: &pb::TxnRequest) -> bool {
    let is_one = |op: &pb::RequestOp| match &op.request {
        Some(Op::RequestRange(range)) => range.range_end.is_empty(),
        _ => false,
    };
    request.compare.iter().all(|compare| compare.range_end.is_empty())
        && request.success.iter().chain(&request.failure).all(is_one)
}

/// Reads at once, or when there is room for a large answer.
fn serve_txn(services: &Arc<Services>, request: pb::TxnRequest, reply: Responder) {
    if reply.is_gone() {
        return;
    }
    if is_short_txn(&request) && !services.memory.are_full() {
        return Services::answer_in_pieces(reply, read_txn(services, &request));
    }
    let inner = Arc::clone(services);
    read_in_turn(services, reply, move || read_txn(&inner, &request));
}

/// Reads on a thread that may take its time, when there is room for a large answer.
fn read_in_turn(
    services: &Arc<Services>,
    reply: Responder,
    read: impl FnOnce() -> Result<Pieces, Error> + Send + 'static,
) {
    let inner = Arc::clone(services);
    services.in_scans(move || {
        if reply.is_gone() {
            return;
        }
        let turn = |room: Result<(), Error>| {
            Services::answer_in_pieces(reply, room.and_then(|()| read()));
        };
        inner.memory.enter(Instant::now(), Box::new(turn));
    });
}

fn read(services: &Services, request: &pb::RangeRequest) -> Result<Pieces, Error> {
    let begun = Instant::now();
    let result = read_now(services, request);
    services.metrics.keys.count_reads(1);
    services.metrics.requests.read(Read::Range, result.is_ok(), begun.elapsed());
    result
}

fn read_now(services: &Services, request: &pb::RangeRequest) -> Result<Pieces, Error> {
    let options = apply::range_options(request);
    // A compaction that passes while this reads makes it begin anew, at the revision it left.
    services
        .reader
        .read_with(|read| {
            let mut response = RangeWriter::new(&services.header(read.revision()));
            let found = read.range_with(&options, &mut |stored| response.push(stored))?;
            Ok(services.memory.hold_pieces(response.finish(found.more, found.count)))
        })
        .map_err(|refusal: mvcc::Refusal| Error::from(refusal))
}

/// `KV.Put`.
pub(crate) fn put(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::PutRequest>(body, reply)?;
    put_as(services, call, (&request, body), Waiter::Client(reply));
    Ok(())
}

/// A put, as a message and as the bytes that go into the log.
pub(crate) fn put_as(
    services: &Services,
    call: &Call,
    (request, body): (&pb::PutRequest, &[u8]),
    waiter: Waiter,
) {
    let cost = quota::put_cost(request);
    let Some(waiter) = admit(services, call, cost, waiter) else { return };
    match check::put(request) {
        Ok(()) => services.propose(call, Kind::Put, body, waiter),
        Err(error) => waiter.fail(error),
    }
}

/// `KV.DeleteRange`.
pub(crate) fn delete_range(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::DeleteRangeRequest>(body, reply)?;
    delete_range_as(services, call, (&request, body), Waiter::Client(reply));
    Ok(())
}

/// As [`put_as`].
pub(crate) fn delete_range_as(
    services: &Services,
    call: &Call,
    (request, body): (&pb::DeleteRangeRequest, &[u8]),
    waiter: Waiter,
) {
    match check::delete(request) {
        Ok(()) => services.propose(call, Kind::DeleteRange, body, waiter),
        Err(error) => waiter.fail(error),
    }
}

/// `KV.Txn`: a transaction that only reads is answered here, without an entry.
pub(crate) fn txn(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::TxnRequest>(body, reply)?;
    if !apply::is_read_only(&request) {
        txn_as(services, call, (&request, body), Waiter::Client(reply));
        return Ok(());
    }
    if let Err(error) = check::txn(&request, services.limits.txn_ops_max) {
        return Err(Refused::new(reply, error));
    }
    if apply::is_serializable(&request) || services.may_read() {
        serve_txn(services, request, reply);
    } else {
        let inner = Arc::clone(services);
        services.linearizable(call, move |confirmed| match confirmed {
            Ok(()) => serve_txn(&inner, request, reply),
            Err(error) => reply.fail(error),
        });
    }
    Ok(())
}

/// As [`put_as`], for a transaction that writes.
pub(crate) fn txn_as(
    services: &Services,
    call: &Call,
    (request, body): (&pb::TxnRequest, &[u8]),
    waiter: Waiter,
) {
    let cost = quota::txn_cost(request);
    let Some(waiter) = admit(services, call, cost, waiter) else { return };
    match check::txn(request, services.limits.txn_ops_max) {
        Ok(()) => services.propose(call, Kind::Txn, body, waiter),
        Err(error) => waiter.fail(error),
    }
}

fn read_txn(services: &Services, request: &pb::TxnRequest) -> Result<Pieces, Error> {
    let begun = Instant::now();
    let result = apply::read_txn(&services.reader.read(), request);
    let ranges = result.as_ref().map_or(0, |txn| txn.responses.len()) + request.compare.len();
    services.metrics.keys.count_reads(ranges as u64);
    services.metrics.requests.read(Read::Txn, result.is_ok(), begun.elapsed());
    Ok((services.memory.hold(encode_txn(services, result?)), Vec::new()))
}

fn encode_txn(services: &Services, txn: TxnReply) -> Bytes {
    let header = services.header(txn.revision);
    Reply::Txn(txn).encode(&header)
}

/// `KV.Compact`.
pub(crate) fn compact(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::CompactionRequest>(body, reply)?;
    if request.physical {
        services.compact(call, body, Waiter::Client(reply));
    } else {
        services.propose(call, Kind::Compaction, body, Waiter::Client(reply));
    }
    Ok(())
}

/// Hands the waiter back where the request fits the quota. Where not, the alarm is raised and
/// the waiter told.
pub(crate) fn admit(services: &Services, call: &Call, cost: u64, waiter: Waiter) -> Option<Waiter> {
    if services.quota.admits(services.figures().db_size(), cost) {
        return Some(waiter);
    }
    let alarm = pb::AlarmRequest {
        action: AlarmAction::Activate as i32,
        member_id: services.member_id,
        alarm: pb::AlarmType::Nospace as i32,
    };
    let waiter = waiter.for_no_space();
    services.propose(call, Kind::Alarm, &alarm.encode_to_vec(), waiter);
    None
}

// ---- RangeStream -------------------------------------------------------------------------------

/// `KV.RangeStream`: a range in pieces, all at one revision.
pub(crate) fn range_stream(
    services: &Arc<Services>,
    call: &Call,
    out: StreamSender,
) -> Box<dyn StreamHandler> {
    Pump::open(services, call, out, |services, call, body, ready: Ready<RangePieces>| {
        let request = match stream_request(body) {
            Ok(request) => request,
            Err(error) => return ready.start(Err(error)),
        };
        let (inner, is_serializable) = (Arc::clone(services), request.serializable);
        let begin = move |confirmed: Result<(), Error>| {
            ready.start(confirmed.map(|()| RangePieces::new(inner, &request)));
        };
        if is_serializable {
            begin(Ok(()));
        } else {
            services.linearizable(call, begin);
        }
    })
}

fn stream_request(body: Bytes) -> Result<pb::RangeRequest, Error> {
    let request = pb::RangeRequest::decode(body).map_err(|_| Error::Malformed)?;
    check::range_stream(&request)?;
    Ok(request)
}

struct RangePieces {
    services: Arc<Services>,
    read: ReadTxn,
    options: RangeOptions,
    /// Keys still wanted.
    left: i64,
    sent: i64,
    done: bool,
}

impl RangePieces {
    fn new(services: Arc<Services>, request: &pb::RangeRequest) -> RangePieces {
        let read = services.reader.read();
        let mut options = apply::range_options(request);
        if options.revision <= 0 {
            options.revision = read.revision();
        }
        let left = if request.limit <= 0 { i64::MAX } else { request.limit };
        options.limit = FIRST_CHUNK_KEYS.min(left);
        RangePieces { services, read, options, left, sent: 0, done: false }
    }

    fn encode(&self, result: RangeResult, is_last: bool, count: i64) -> Bytes {
        let response = pb::RangeResponse {
            header: is_last.then(|| self.services.header_message(self.read.revision())),
            kvs: Vec::new(),
            more: is_last && result.more,
            count: if is_last { count } else { 0 },
        };
        let mut inner = BytesMut::new();
        for kv in &result.kvs {
            prost::encoding::encode_key(2, prost::encoding::WireType::LengthDelimited, &mut inner);
            prost::encoding::encode_varint(kv.encoded().len() as u64, &mut inner);
            inner.extend_from_slice(kv.encoded());
        }
        response.encode_raw(&mut inner);
        let mut out = BytesMut::with_capacity(inner.len() + 8);
        prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut out);
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend_from_slice(&inner);
        out.freeze()
    }
}

impl Producer for RangePieces {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.done {
            return Ok(None);
        }
        let result = self.read.range(&self.options)?;
        if self.options.count_only {
            self.done = true;
            let count = result.count;
            return Ok(Some(self.encode(result, true, count)));
        }
        let taken = result.kvs.len() as i64;
        self.left -= taken;
        let is_last = !result.more || self.left == 0;
        let size: usize = result.kvs.iter().map(|kv| kv.encoded().len()).sum();
        let count = self.sent + result.count;
        self.sent += taken;
        if let Some(last) = result.kvs.last() {
            let mut next = last.decode().key.to_vec();
            next.push(0);
            self.options.key = next.into();
        }
        // Pieces near the size of a request: too small costs round trips, too large memory.
        let target = self.services.limits.request_bytes_max;
        if size < target / 2 {
            self.options.limit = self.options.limit.saturating_mul(2);
        } else if size > target * 2 {
            self.options.limit = (self.options.limit / 2).max(1);
        }
        self.options.limit = self.options.limit.min(self.left.max(1));
        self.done = is_last;
        Ok(Some(self.encode(result, is_last, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ranges_look_at_few_keys() {
        let short = pb::RangeRequest { limit: 256, ..Default::default() };
        assert!(is_short(&short));
        let descending = SortOrder::Descend as i32;
        for long in [
            pb::RangeRequest { limit: 0, ..short.clone() },
            pb::RangeRequest { limit: 257, ..short.clone() },
            pb::RangeRequest { revision: 2, ..short.clone() },
            pb::RangeRequest { sort_order: descending, ..short.clone() },
            pb::RangeRequest { sort_target: SortTarget::Value as i32, ..short.clone() },
            pb::RangeRequest { min_mod_revision: 5, ..short.clone() },
            pb::RangeRequest { max_create_revision: 5, ..short },
        ] {
            assert!(!is_short(&long), "{long:?}");
        }
    }

    #[test]
    fn short_transactions_look_at_single_keys() {
        let read = |range_end: &'static str| pb::RequestOp {
            request: Some(Op::RequestRange(pb::RangeRequest {
                range_end: range_end.into(),
                ..Default::default()
            })),
        };
        let txn = |ops| pb::TxnRequest { success: ops, ..Default::default() };
        assert!(is_short_txn(&txn(vec![read(""), read("")])));
        assert!(!is_short_txn(&txn(vec![read(""), read("z")])));
        let nested = pb::RequestOp { request: Some(Op::RequestTxn(txn(vec![read("")]))) };
        assert!(!is_short_txn(&txn(vec![nested])));
        let compare = pb::Compare { range_end: "z".into(), ..Default::default() };
        assert!(!is_short_txn(&pb::TxnRequest { compare: vec![compare], ..Default::default() }));
    }
}
