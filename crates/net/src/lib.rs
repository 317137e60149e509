//! Real sockets: the seam that handlers see, and the adapter that serves gRPC and HTTP behind it.
//!
//! Handlers know no transport: a call is a method, metadata, bytes and a [`rpc::Responder`]; a reply
//! is bytes, given from whichever thread has it. What stands behind the seam now is hyper, with
//! gRPC's framing done here; an engine of our own can take its place without touching a handler.

mod frame;
mod h2;
pub mod http;
pub mod rpc;
#[cfg(any())]
mod serve;

#[cfg(any())]
pub use serve::{Config, Server};
