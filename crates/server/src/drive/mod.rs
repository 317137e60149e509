//! The driver threads: they give the turns of `replica` time, disk and company, and carry out what the turns
//! ask for, in its order. Nothing is decided here.

mod apply;
mod core;
mod hub;
mod log;
mod notes;
#[cfg(test)]
mod tests;

pub(crate) use self::apply::ApplyDriver;
pub(crate) use self::core::{CoreDriver, run as run_core};
pub(crate) use self::hub::run as run_hub;
pub(crate) use self::log::LogHandle;

use replica::Fault;

/// Why the member cannot go on.
pub(crate) type Failed = std::sync::Arc<dyn Fn(Fault) + Send + Sync>;
