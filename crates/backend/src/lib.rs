//! One bolt file used etcd's way: batched commits, read-your-writes, tables, and the applied index in every commit.
