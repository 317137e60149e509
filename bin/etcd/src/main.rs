//! The etcd program.
fn main() {}
