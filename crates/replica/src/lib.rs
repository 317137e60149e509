//! A whole member minus threads, sockets and clock: events in, commands out; owns all ordering.
//!
//! ```text
//!            Proposal                 Persist                    Apply
//! caller ---------------> [`Core`] ------------> [`LogWriter`]   ------> [`Applier`]
//!                            ^------ Persisted ------'                       |
//!                            ^------ Applied --------------------------------'
//! ```
//! The three parts share nothing but messages. A server gives each its own thread; a test steps
//! them from one, and crashes between any two messages. Whatever thread they run on, these hold:
//! 1. An entry is applied only after it is committed, and committed only after a quorum's sync.
//! 2. Log entries are released only when the database holds their effects durably.
//! 3. After a fault of the disk no part does anything more.

mod applier;
mod condense;
mod core;
mod cut;
mod deferred;
mod fault;
mod force;
mod home;
mod install;
mod intake;
mod log_writer;
mod open;
mod sending;
pub mod turn;

pub use applier::{Applied, Applier, SnapshotDue};
pub use core::{CatchUp, Command, Core, Status};
pub use fault::Fault;
pub use home::received_db;
pub use intake::{Incoming, Intake};
pub use log_writer::{LogWriter, Persist, Persisted, Surplus};
pub use open::{Beginning, Identity, Options, Parts, has_log, open};
