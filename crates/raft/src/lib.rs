//! The algorithm: messages, ticks and proposals in; entries to persist, messages to send and entries to apply out.
