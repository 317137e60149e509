//! A whole cluster of members in one seeded thread: adversaries, workloads, and one file for each property checked.
//!
//! ```text
//! seed -> Plan, Weather
//!   Scheduler --event--> a member's part (core, log, state machine, file, watch hub) has its turn,
//!                        or one more of the effects of its turn is carried out
//!                        a message, a database or a question to the leader arrives, or not (Network)
//!                        a client asks or leaves (Workload), a watcher reads, something goes wrong (Adversary)
//!   after every event: checks/*
//! trouble ends -> the cluster must be whole and alive within a bounded time, also after a blackout
//! ```
//! The members are the shipped ones: the turns of `replica::turn` on `disk::sim` disks, and between them the
//! shipped queues, which decide who sleeps. A seed decides everything: run twice, it gives the same trace,
//! byte by byte.

mod adversary;
mod checks;
mod cluster;
mod hashes;
mod member;
mod model;
mod network;
mod node;
mod plan;
mod requests;
mod rng;
mod run;
mod scheduler;
mod snapshots;
mod trace;
mod workload;

pub use checks::Violation;
pub use cluster::Counts;
pub use plan::{Mistake, Plan};
pub use rng::Rng;
pub use run::{Failure, Summary, last_events, run};
pub use trace::{Record, Trace};
