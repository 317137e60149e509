//! The services as a whole member answers them, without a transport.

mod lease;
mod streams;
mod watch;
