//! The Rust client: failover, safe retries, watches that resume, leases kept alive.
//!
//! A [`Client`] connects to all of its endpoints at once and keeps those connections up. Calls take
//! turns among the connections that live; one on which a call hears nothing gets no more calls
//! until it says something. Every unary method of etcd is a request type with [`Unary`]
//! implemented; [`Client::call`] sends it and retries by etcd's own rules: what certainly was not
//! sent goes to another connection until the deadline, what may have been executed only if the
//! method may be repeated; reads that hear nothing are asked of several members side by side.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Client, Config, Deadline};
//! use proto::etcdserverpb::{PutRequest, RangeRequest};
//!
//! let client = Client::new(Config::new(["127.0.0.1:2379"]))?;
//! let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
//! client.call(put, Deadline::in_seconds(5)).await?;
//! let get = RangeRequest { key: "k".into(), ..RangeRequest::default() };
//! let answer = client.call(get, Deadline::in_seconds(5)).await?;
//! assert_eq!(answer.kvs[0].value, "v");
//! # Ok(()) }
//! ```
//! Everything here runs inside a tokio runtime.

mod cause;
mod config;
mod connection;
mod deadline;
mod error;
mod heard;
mod lease;
mod link;
mod methods;
mod pool;
mod range;
mod retry;
mod secret;
mod secure;
mod snapshot;
mod stream;
mod token;
mod watch;

pub use config::{Config, Credentials};
pub use connection::Client;
pub use deadline::Deadline;
pub use error::{Code, Error};
pub use lease::KeepAlive;
pub use methods::{Repeat, Unary};
pub use range::prefix_end;
pub use secret::Secret;
pub use secure::TlsFlags;
pub use snapshot::SnapshotStream;
pub use tls::Settings as TlsSettings;
pub use watch::{Watch, WatchAnswer, WatchHandle};
