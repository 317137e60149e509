//! What a client may ask of a member, one row for each, and how it is refused.
//!
//! ```text
//! gRPC | JSON | in process | proxy
//!   --> Front        finds the row, refuses what the row refuses, counts
//!   --> Rows         whoever serves: a member's handlers, or a proxy
//!   --> handlers     kv, watch, lease, cluster, maintenance, downgrade: the request's shape, quota, size
//!   --> Member       a narrow trait: events for the turns of `replica`, the database, other threads
//! ```
//! A call goes with its [`Call`], who asks and until when, to the waiter that stays behind, into the log, to
//! reads and to watchers. The codes and texts of errors are in one table ([`Error`]).

mod call;
mod caller;
mod check;
pub mod cluster;
mod downgrade;
mod error;
pub mod forward;
mod front;
mod health;
mod in_process;
mod kv;
mod later;
pub mod lease;
mod led_streams;
pub mod lines;
mod maintenance;
mod member;
mod membership_checks;
mod meter;
mod pump;
mod reflection;
mod refused;
mod response_memory;
mod row;
mod rows;
mod services;
pub mod versions;
mod watch;

pub use call::{Call, Origin, Who};
pub use caller::{ApplyEvent, Calls, Common, CoreEvent, Ticket, Waiter, fail, ticket};
pub use error::Error;
pub use front::{Front, MemberRows, Rows, Standing};
pub use in_process::Written;
pub use member::{Job, Lane, Member, PeerAnswer};
pub use refused::Refused;
pub use row::{Leader, Learner, Permission, Row, Shape};
pub use rows::ROWS;
pub use services::{Limits, Services};
