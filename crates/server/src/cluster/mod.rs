//! A member among others: who they are, the way to them, and what needs their consent.

mod monitor;
mod network;
mod peer_log;
mod repeats;
mod transfer;

pub(crate) use monitor::{own_version, run as run_monitor};
pub(crate) use network::PeerHandler;
pub(crate) use peer_log::PeerLog;
pub(crate) use transfer::transfer_leadership;
