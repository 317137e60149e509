//! The services as a whole member answers them, without a transport.

mod hash;
mod lease;
mod streams;
mod watch;
