//! A whole member minus threads, sockets and clock: events in, commands out; owns all ordering.
