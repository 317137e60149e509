//! The etcdctl program.
fn main() {}
