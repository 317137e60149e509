//! The standard health service: the one name it knows is the empty one.

use crate::refused::{Refused, decode};
use crate::row::Row;
use bytes::Bytes;
use net::rpc::{Code, Responder, Status, StreamHandler, StreamSender};
use prost::Message;
use proto::grpc::health::v1::health_check_response::ServingStatus;
use proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse, HealthListResponse};

fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: ServingStatus::Serving as i32 }
}

/// `Health.Check`.
pub(crate) fn check(body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<HealthCheckRequest>(body, reply)?;
    if request.service.is_empty() {
        reply.reply(serving().encode_to_vec().into());
    } else {
        reply.fail(Status::new(Code::NotFound, "unknown service"));
    }
    Ok(())
}

/// `Health.List`.
pub(crate) fn list(_body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let statuses = [(String::new(), serving())].into();
    reply.reply(HealthListResponse { statuses }.encode_to_vec().into());
    Ok(())
}

/// `Health.Watch`: the status now; it does not change while the member serves.
pub(crate) fn watch(_: &'static [Row], out: StreamSender) -> Box<dyn StreamHandler> {
    Box::new(HealthWatch { out })
}

struct HealthWatch {
    out: StreamSender,
}

impl StreamHandler for HealthWatch {
    fn message(&mut self, body: Bytes) {
        let known =
            HealthCheckRequest::decode(body).is_ok_and(|request| request.service.is_empty());
        let status = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        self.out.send(HealthCheckResponse { status: status as i32 }.encode_to_vec().into());
    }

    fn half_close(&mut self) {}

    fn writable(&mut self) {}

    fn closed(&mut self) {}
}
