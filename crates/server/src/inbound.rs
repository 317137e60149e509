//! Messages of other members on their way to the core thread, and how many bytes of them may wait.

use peer::Overloaded;
use prost::Message as _;
use proto::raftpb::Message;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of messages that wait for the core thread.
const INBOUND_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Messages of other members that wait for the core thread.
#[derive(Default)]
pub(crate) struct Inbound {
    bytes: AtomicUsize,
}

impl Inbound {
    /// Counts a message that is about to be sent to the core thread, unless too many bytes wait.
    pub(crate) fn admit(&self, message: &Message) -> Result<(), Overloaded> {
        let len = message.encoded_len();
        let before = self.bytes.fetch_add(len, Ordering::AcqRel);
        if before + len > INBOUND_BYTES_MAX && before > 0 {
            self.bytes.fetch_sub(len, Ordering::AcqRel);
            return Err(Overloaded);
        }
        Ok(())
    }

    /// The core thread has taken a message.
    pub(crate) fn taken(&self, message: &Message) {
        self.bytes.fetch_sub(message.encoded_len(), Ordering::AcqRel);
    }
}
