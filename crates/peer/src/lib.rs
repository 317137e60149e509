//! Raft messages and snapshots between members over etcd's peer HTTP protocol.
//!
//! A [`Transport`] is one member's end: it serves the peer port and keeps, for every other member,
//! the ways to it. A message never waits for the network: it goes into a bounded queue or is dropped
//! and reported, for raft sends again what matters.
//!
//! ```text
//! send ---> Peer -- MsgApp, stream open ----> msgapp queue ---> stream body, msgappv2 codec
//!              |--- else, stream open ------> message queue --> stream body, message codec
//!              `--- else, and MsgSnap ------> pipeline queue -> POST /raft, four at once
//! send_snapshot ---------------------------------------------> POST /raft/snapshot
//!
//! process <--- stream readers, which dial and dial again; and POST /raft
//! ```
//!
//! Streams run backwards: whoever wants a member's messages asks that member for them.
//! Sources: `server/etcdserver/api/rafthttp` of etcd v3.7.

mod answer;
mod ask;
mod body;
pub mod codec;
mod config;
mod failure;
mod handler;
mod headers;
mod idle;
mod link;
mod peer;
mod pipeline;
mod probe;
mod reader;
mod receive;
mod server;
mod shared;
mod snapshot;
mod status;
mod stream;
mod transport;
mod urls;

pub use ask::{Page, Question, ask_and_wait};
pub use config::{Config, Limits, MIN_CLUSTER_VERSION};
pub use handler::{Ground, Handler, Intake, Note, Overloaded, Refused, Rejection, Route};
pub use status::PeerStats;
pub use transport::Transport;
