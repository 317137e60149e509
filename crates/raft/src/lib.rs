//! The algorithm: messages, ticks and proposals in; what to persist, send and apply out.
//!
//! A [`Node`] is a value: no clock, thread, file or socket, and chance only from a seed. Its owner
//! calls it, then takes a [`Ready`] and does what that says:
//!
//! ```text
//!   tick, propose, step ...  ->  Node  ->  Ready { hard state, entries and snapshot to persist,
//!                                  ^               messages to send,
//!                                  |               committed entries to apply }
//!                                  '--- what was persisted and applied
//! ```
//! It behaves as etcd's library does, message for message, which `tests/interaction.rs` replays.
//! Everything is built on Diego Ongaro's thesis, "Consensus: Bridging Theory and Practice" (2014),
//! whose sections the files name:
//!
//! ```text
//! node          what the owner calls             ready         what the owner must do
//! raft          state, roles, terms, time        election      campaigns and votes
//! follower  candidate  leader                    what each role does with a message
//! replication   what a leader sends              progress, inflights   what it knows of a follower
//! read_index    reads without entries            transfer      handing leadership over
//! confchange    which configuration follows      tracker       the configuration in force
//! quorum        who must agree                   log, unstable, storage
//! check         what is always true
//! wire          names, kinds and sizes           describe      all of it as text
//! ```

mod candidate;
mod check;
mod confchange;
mod config;
pub mod describe;
mod election;
mod follower;
mod inflights;
mod leader;
mod log;
mod node;
mod progress;
mod quorum;
mod raft;
mod read_index;
mod reads;
mod ready;
mod replication;
mod status;
mod storage;
mod tracker;
mod transfer;
mod unstable;
pub mod wire;

pub use confchange::{Changed, Changer, ConfChangeError, restore};
pub use config::{Config, ConfigError, ReadOnly};
pub use inflights::Inflights;
pub use log::EntryId;
pub use node::{Node, StepError};
pub use progress::{Flow, Progress};
pub use quorum::{Joint, Majority, VoteResult};
pub use raft::{Dropped, ReadState, Role};
pub use ready::{Ready, SoftState};
pub use status::{BasicStatus, Status};
pub use storage::{MemoryStorage, Storage, StorageError};
pub use tracker::{Configuration, ProgressMap, Tracker};
