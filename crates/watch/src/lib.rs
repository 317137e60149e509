//! Every watcher, exactly once and in order: live events, catch-up from history, progress.
