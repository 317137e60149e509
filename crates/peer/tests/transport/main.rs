//! Transports over real sockets: with each other, and with strangers.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;
mod limits;
mod pair;
