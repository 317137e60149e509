//! Ranges of keys, and large ones read in pieces.

use crate::connection::Client;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::methods::Repeat;
use proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};

const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";

/// The end of the range of all keys that begin with `prefix`: the prefix with its last byte that
/// can grow grown by one, and what follows cut off; `\0`, no end, if none can.
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let Some(last) = prefix.iter().rposition(|byte| *byte < 0xff) else {
        return vec![0];
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end
}

impl Client {
    /// Reads a range in pieces and puts them together.
    ///
    /// # Errors
    /// Those of the call; what came before is dropped.
    pub async fn range_in_pieces(
        &self,
        request: RangeRequest,
        deadline: Deadline,
    ) -> Result<RangeResponse, Error> {
        let stream = self.server_stream(request, RANGE_STREAM, Repeat::Read, deadline);
        let mut stream = stream.await?;
        let mut whole = RangeResponse::default();
        while let Some(piece) = stream.next(deadline).await? {
            let piece: RangeStreamResponse = piece;
            let Some(piece) = piece.range_response else { continue };
            whole.header = piece.header.or(whole.header);
            whole.kvs.extend(piece.kvs);
            // Only one piece carries these.
            whole.count = whole.count.max(piece.count);
            whole.more |= piece.more;
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn a_prefix_ends_before_the_next_sibling() {
        assert_eq!(prefix_end(b"ab"), b"ac");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
    }
}
