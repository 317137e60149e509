//! The services as a whole member answers them, without a transport.

mod hash;
mod in_process;
mod lease;
mod streams;
mod watch;
