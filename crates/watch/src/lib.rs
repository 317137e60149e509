//! Every watcher, exactly once and in order: live events, catch-up from history, progress.
//!
//! One [`Hub`] owns all watchers. Registrations, changes and progress reach it in one order, and it
//! answers in that order on each stream, so progress never overtakes an event.
//!
//! ```text
//! synced      hears of changes as they are published
//! catching up reads history from the store, a bounded piece at a time, until it has come to now
//! ```
//! A synced watcher whose stream has no room left starts catching up from the revision it missed:
//! nothing is kept for it meanwhile, and nobody waits for it. Where changes come faster than the hub
//! can publish them, or a snapshot brought many at once, all watchers do so.
//!
//! Memory is bounded by the streams: each holds what its sink has room for and one response more, which
//! is as long as the sink allows, and answers up to a limit; a client beyond that is cut off.
//!
//! Always true for every watcher: revisions ascend, none is left out or sent twice, the events of
//! one revision come together (unless it asked for fragments), and progress at R comes after every
//! event up to R.
//!
//! Reference: `server/storage/mvcc/watchable_store.go`, `server/etcdserver/api/v3rpc/watch.go`.

mod catch_up;
mod event;
mod hub;
mod ids;
mod index;
mod intervals;
mod progress;
mod publish;
mod queue;
mod watcher;
mod wire;

pub use hub::{Hub, Limits, Sink};
pub use ids::StreamId;
