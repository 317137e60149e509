//! Leases in logical time: grant, renew, attach, expire; reports what expired, never acts.
