//! Keys with history: revisions, range, put, delete, compaction, hash.
