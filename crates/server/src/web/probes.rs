//! The addresses of `--listen-metrics-urls`: metrics and health, for whoever watches the member, and nothing
//! else, since nobody is asked there who he is (reference: `serveMetrics` in `server/embed/etcd.go`).

use super::{Web, not_found, vars};
use bytes::Bytes;
use net::http::{HttpRequest, HttpResponder, HttpService};
use net::rpc::{
    CallHead, Code, GrpcService, Method, Responder, Status, StreamHandler, StreamSender,
};

/// What is served there.
pub(crate) struct Probes(pub(crate) Web);

impl HttpService for Probes {
    fn call(&self, request: HttpRequest, reply: HttpResponder) {
        match request.path.as_str() {
            "/version" | vars::PATH => reply.reply(not_found()),
            _ => self.0.answer(&request, reply),
        }
    }
}

/// No calls are.
pub(crate) struct NoCalls;

fn refusal() -> Status {
    Status::new(Code::Unimplemented, "this address serves metrics and health alone")
}

impl GrpcService for NoCalls {
    fn lookup(&self, _path: &str) -> Result<Method, Status> {
        Err(refusal())
    }

    fn unary(&self, _method: u16, _head: &CallHead, _body: Bytes, reply: Responder) {
        reply.fail(refusal());
    }

    fn stream(
        &self,
        _method: u16,
        _head: &CallHead,
        _out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Status> {
        Err(refusal())
    }
}
