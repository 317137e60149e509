//! Real sockets: the seam that handlers see, and the HTTP/2 engine that serves them.
//!
//! Handlers know no transport: a call is a method, metadata, bytes and a [`rpc::Responder`]; a reply
//! is bytes, given from whichever thread has it. Behind the seam stands an HTTP/2 engine of our own;
//! HTTP/1.1, which only people and probes speak, is hyper's.

mod frame;
mod gzip;
mod h2;
pub mod http;
mod listener;
mod permits;
pub mod rpc;
mod secure;
mod stream;
mod web;

pub use h2::{Config, Server};
pub use listener::Listener;
