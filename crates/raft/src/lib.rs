//! The algorithm: ticks and proposals in; entries to persist and entries to apply out.
//!
//! A [`Node`] is a value: no clock, thread, file or socket. Its owner calls it, then takes a
//! [`Ready`] and does what that says:
//!
//! ```text
//! propose, applied, persisted ...  ->  Node  ->  Ready { hard state and entries to persist,
//!                                                        committed entries to apply }
//! ```
//! Persisting and applying happen elsewhere and are answered by [`Node::persisted`] and
//! [`Node::applied`]. An entry is committed when a quorum has it on disk, and a node counts itself
//! only after its own disk has answered (Raft thesis, section 3.6 and 10.2.1); so a cluster of one
//! waits for its own sync as well.
//!
//! So far a node elects itself as the only voter and replicates to nobody; it refuses to run with
//! other voters. What is here (terms, votes, the log, commit, apply, configuration changes through
//! the log) is the way that a cluster takes too.

mod log;
mod node;

pub use log::Log;
pub use node::{Config, Dropped, Node, Ready, Role, Start, Status};
