//! Leases in logical time: grant, renew, attach, expire; reports what expired, never acts.
//!
//! Time is milliseconds that the caller hands in; only the leader's lessor (`promote`d) lets leases
//! expire. What expired is revoked through the log, so every member deletes the same keys at the
//! same revision.
//!
//! Reference: `server/lease/lessor.go`.

mod lessor;

pub use lessor::{CHECKPOINT_MS, Config, Granted, Lessor, Refusal, Renewal, TTL_MAX_S, TimeToLive};
