//! The Rust SDK: balancing, failover, safe retries, watch resume, lease keep-alive.
