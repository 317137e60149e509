//! How streams and watchers are told apart.

/// A stream's number.
pub type StreamId = u64;
/// A watcher: its stream and its id there.
pub(crate) type WatcherId = (StreamId, i64);
