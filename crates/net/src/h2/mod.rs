//! HTTP/2 for gRPC: event loops that own their connections.
//!
//! ```text
//! socket --bytes--> Connection --events--> Session --calls--> handlers
//! socket <--bytes-- Connection <------- Inbox <---replies---- handlers, on any thread
//! ```
//!
//! A wake-up reads everything from every ready socket, calls the handlers of all requests, and then
//! writes once to each connection. [`connection::Connection`] is a value and knows no socket; replies
//! from other threads come in batches through the loop's [`inbox`].

mod blocks;
mod connection;
mod deadlines;
mod engine;
mod event_loop;
mod flow;
mod frame;
mod handshakes;
mod head;
mod hpack;
mod inbox;
mod output;
mod peers;
mod policy;
mod receive;
mod send;
mod session;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

pub use engine::{Config, Server};
pub(crate) use socket::Released;
