//! The driver threads: they give the turns of `replica` time, disk and company, and carry out what the turns
//! ask for, in its order. Nothing is decided here.

mod apply;
mod caller;
mod core;
mod hub;
mod hub_queue;
mod log;
mod notes;
#[cfg(test)]
mod tests;

pub(crate) use self::apply::ApplyDriver;
pub(crate) use self::caller::{Calls, Waiter, ticket};
pub(crate) use self::core::{CoreDriver, run as run_core};
pub(crate) use self::hub::run as run_hub;
pub(crate) use self::hub_queue::HubQueue;
pub(crate) use self::log::LogHandle;

use replica::Fault;
use replica::turn;

/// Work for the pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;
/// What the turns share, for this server's callers.
pub(crate) type Common = turn::Common<Calls>;
/// For the core thread.
pub(crate) type CoreEvent = turn::CoreEvent<Calls>;
/// For the apply thread.
pub(crate) type ApplyEvent = turn::ApplyEvent<Calls>;

/// Why the member cannot go on.
pub(crate) type Failed = std::sync::Arc<dyn Fn(Fault) + Send + Sync>;
