//! What a row says of an RPC: all that is to be known of it before its handler is called.

use crate::refused::Refused;
use crate::{Call, Services};
use bytes::Bytes;
use net::rpc::{Responder, StreamHandler, StreamSender};
use std::sync::Arc;

/// Which messages go which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One request, one response.
    Unary,
    /// One request, any number of responses.
    ServerStream,
    /// Any number of either.
    Bidirectional,
}

impl Shape {
    /// The name that metrics know it by.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Unary => "unary",
            Shape::ServerStream => "server_stream",
            Shape::Bidirectional => "bidi_stream",
        }
    }
}

/// What a member without a vote does with the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learner {
    /// The learner serves the call; the handler refuses linearizable reads.
    Serves,
    /// The learner refuses the call.
    Refuses,
}

/// Whether the member must know a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// Only if the client asks for that.
    IfAsked,
    /// Never: the call asks how the member is, with a leader or without.
    Never,
}

/// What the caller must be permitted to do. Every row says it, so that no RPC is open by having been
/// forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Anybody may call.
    Open,
}

type Unary = fn(&Arc<Services>, &Call, &Bytes, Responder) -> Result<(), Refused>;
type Stream = fn(&Arc<Services>, &Call, StreamSender) -> Box<dyn StreamHandler>;

/// The handler of a row.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// A member's services.
    Unary(Unary),
    /// The same for streams.
    Stream(Stream),
    /// Whatever program serves the rows: it needs no member.
    Own(fn(&Bytes, Responder) -> Result<(), Refused>),
    /// The same for streams; the handler gets all rows that are served.
    OwnStream(fn(&'static [Row], StreamSender) -> Box<dyn StreamHandler>),
}

/// All about one RPC.
#[derive(Clone, Copy)]
pub struct Row {
    /// The full name of the service, with its package.
    pub service: &'static str,
    /// The name of the method.
    pub method: &'static str,
    /// Which messages go which way.
    pub shape: Shape,
    /// The types of request and response, with their package.
    pub types: [&'static str; 2],
    /// What a member without a vote does.
    pub learner: Learner,
    /// Whether a leader must be known.
    pub leader: Leader,
    /// What the caller must be permitted to do.
    pub permission: Permission,
    pub(crate) handler: Handler,
}

impl Row {
    /// The path of the RPC in HTTP/2.
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.method)
    }
}

impl Handler {
    /// Whether the handler answers one request with one response.
    pub(crate) fn is_unary(self) -> bool {
        matches!(self, Handler::Unary(_) | Handler::Own(_))
    }
}

/// Names of the services that these rows belong to.
pub(crate) fn service_names(rows: &[Row]) -> Vec<&'static str> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.service).collect();
    names.sort_unstable();
    names.dedup();
    names
}
