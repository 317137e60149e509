//! Everything around a replica: bootstrap, driver threads, timers, handlers, health, metrics.
//!
//! ```text
//! rpc, web        what clients ask, in their shape; knows gRPC codes and JSON
//! drive           the threads: core, log, apply, commit, watch
//! shared          what handlers see of the member without asking a thread
//! ```
//! Three pools work for handlers, each with a named number of threads: one for what is short, which is what a
//! read does that the cluster has confirmed; one for what takes its time, large ranges and streams by
//! turns; one for what reads the whole database. Nothing in them waits: what waits is a state.
//!
//! A proposal leaves a waiter behind, goes to the core thread, through the log thread, and comes
//! back on the apply thread, which answers the waiter.

mod arguments;
mod bootstrap;
mod cluster;
mod compactor;
mod drive;
mod error;
mod hub_queue;
mod inbound;
mod lines;
mod mailbox;
mod member;
mod network;
mod ports;
mod promise;
mod publish;
mod roster;
#[cfg(test)]
mod service_tests;
mod shared;
#[cfg(test)]
mod testing;
mod ticks;
mod waiting_pages;
mod web;

pub use arguments::shown_arguments;
pub use bootstrap::{Begun, Plan, Remotes, Source, begin};
pub use compactor::AutoCompaction;
pub use error::StartError;
pub use member::{Config, Member};

/// A socket that a member listens on: [`Plan`] and [`Config`] hold some.
pub use net::Listener;
/// What [`Plan`] and [`Config`] say of the replica.
pub use replica::{Beginning, CatchUp, Options as ReplicaOptions};
