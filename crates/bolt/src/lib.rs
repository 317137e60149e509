//! A copy-on-write B+tree in one file, in bbolt's bytes; with check and compact.
