//! Raft's durable memory: a segmented CRC-chained log and snapshot files, in etcd's bytes.
