//! A member's database, streamed.

use crate::connection::Client;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::methods::Repeat;
use crate::stream::Pieces;
use proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};

const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
/// A database is whole pages, and a SHA-256 sum of them follows.
const SECTOR_BYTES: u64 = 512;
const SUM_BYTES: u64 = 32;

/// A member's database on its way: the file's pages and then their SHA-256 sum.
pub struct SnapshotStream {
    stream: Pieces<SnapshotResponse>,
    deadline: Deadline,
    received_bytes: u64,
    remaining_bytes: u64,
    version: String,
}

impl Client {
    /// Begins to fetch the database of a member. Best asked of a client with one endpoint.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn snapshot(&self, deadline: Deadline) -> Result<SnapshotStream, Error> {
        let request = SnapshotRequest::default();
        let stream = self.server_stream(request, SNAPSHOT, Repeat::Read, deadline).await?;
        Ok(SnapshotStream {
            stream,
            deadline,
            received_bytes: 0,
            remaining_bytes: 0,
            version: String::new(),
        })
    }
}

impl SnapshotStream {
    /// The next piece; none after the last.
    ///
    /// # Errors
    /// A broken stream, or one that ends without the sum; what was written then is no snapshot.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        match self.stream.next(self.deadline).await? {
            Some(piece) => {
                self.received_bytes += piece.blob.len() as u64;
                self.remaining_bytes = piece.remaining_bytes;
                if !piece.version.is_empty() {
                    self.version = piece.version;
                }
                Ok(Some(piece.blob))
            }
            None if self.received_bytes % SECTOR_BYTES != SUM_BYTES => {
                let text = format!("sha256 checksum not found [bytes: {}]", self.received_bytes);
                Err(Error::Snapshot(text))
            }
            None => Ok(None),
        }
    }

    /// Bytes received so far, and bytes that the member has still to send.
    pub fn progress(&self) -> (u64, u64) {
        (self.received_bytes, self.remaining_bytes)
    }

    /// The version of the member's storage, once the first piece has come.
    pub fn version(&self) -> &str {
        &self.version
    }
}
