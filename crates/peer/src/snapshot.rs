//! Databases on their way to a peer: `POST /raft/snapshot`, a raft message and then the file.

use crate::codec::{Output, message};
use crate::failure::Failure;
use crate::handler::{Handler, Note};
use crate::pipeline;
use crate::shared::Shared;
use crate::status::Status;
use crate::urls::{PeerUrl, Picker};
use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::CONTENT_TYPE;
use hyper::body::{Body, Frame, SizeHint};
use proto::raftpb::Message;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Read from the file at once.
const READ_BYTES: usize = 256 * 1024;
/// Pieces read ahead.
const READ_AHEAD: usize = 2;

/// One database on its way. Whatever becomes of it, raft is told once.
pub(crate) struct SnapshotSender {
    pub(crate) shared: Arc<Shared>,
    pub(crate) picker: Arc<Picker>,
    pub(crate) status: Arc<Status>,
    /// The `MsgSnap` in front.
    pub(crate) message: Message,
    /// How long the database is.
    pub(crate) total_bytes: u64,
    /// The database.
    pub(crate) reader: Box<dyn Read + Send>,
}

impl SnapshotSender {
    /// Ends when the peer has it or will not get it.
    pub(crate) async fn run(self) {
        let (began, id) = (Instant::now(), self.status.id());
        let (status, picker) = (Arc::clone(&self.status), Arc::clone(&self.picker));
        let mut report = Report { handler: Arc::clone(&self.shared.handler), id, ok: false };
        let url = picker.pick();
        report.handler.note(&Note::SnapshotSending { id });
        let result = self.post(&url).await;
        let why = result.as_ref().err().map(Failure::to_string);
        report.handler.note(&Note::SnapshotSent { id, took: began.elapsed(), why: why.as_deref() });
        match result {
            Ok(bytes) => {
                status.activate();
                status.sent(bytes);
                report.ok = true;
            }
            Err(failure) => {
                picker.unreachable(&url);
                status.deactivate(why.as_deref().unwrap_or_default());
                status.send_failed();
                if matches!(failure, Failure::Removed) {
                    report.handler.expelled(id);
                }
            }
        }
    }

    /// How many bytes the peer took.
    async fn post(self, url: &PeerUrl) -> Result<usize, Failure> {
        let mut output = Output::default();
        message::encode(&self.message, &mut output);
        let bytes = output.len() as u64 + self.total_bytes;
        let (pieces, body) = mpsc::channel(READ_AHEAD);
        let request = self
            .shared
            .identity
            .request(Method::POST, &url.address, "/raft/snapshot")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(SnapshotBody { output, pieces: body, left: bytes })
            .expect("an address that was parsed makes a request");
        let mut connection = self.shared.open(url).await?;
        let (reader, total_bytes) = (self.reader, self.total_bytes);
        let reading = tokio::task::spawn_blocking(move || read(reader, total_bytes, &pieces));
        let limits = &self.shared.config.limits;
        let answering = connection.send_request(request);
        tokio::pin!(answering);
        // Reading goes at the pace of writing, which may not stall; so this ends.
        let early = tokio::select! {
            answer = &mut answering => Some(answer),
            _ = reading => None,
        };
        let response = match early {
            Some(response) => response?,
            None => timeout(limits.snapshot_answer_timeout, answering)
                .await
                .map_err(|_| Failure::TimedOut("waiting for the database to be saved"))??,
        };
        pipeline::check(response, limits.read_timeout).await?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

/// Tells raft, also when the task is ended from outside.
struct Report {
    handler: Arc<dyn Handler>,
    id: u64,
    ok: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        if !self.ok {
            self.handler.unreachable(self.id);
        }
        self.handler.snapshot_done(self.id, self.ok);
    }
}

type Piece = io::Result<Bytes>;

/// Passes exactly `total_bytes` on, or an error.
fn read(mut reader: Box<dyn Read + Send>, total_bytes: u64, pieces: &mpsc::Sender<Piece>) {
    let mut left = total_bytes;
    while left > 0 {
        let mut piece = BytesMut::zeroed(left.min(READ_BYTES as u64) as usize);
        let result = reader.read_exact(&mut piece).map(|()| piece.freeze());
        let failed = result.is_err();
        left -= result.as_ref().map_or(0, |piece| piece.len() as u64);
        // The connection may be gone; then nobody wants the rest.
        if pieces.blocking_send(result).is_err() || failed {
            return;
        }
    }
}

/// A message, then a database. Where the database ends early, so does the connection.
struct SnapshotBody {
    output: Output,
    pieces: mpsc::Receiver<Piece>,
    left: u64,
}

impl Body for SnapshotBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = self.get_mut();
        if body.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match body.output.pop() {
            Some(piece) => Ok(piece),
            None => match ready!(body.pieces.poll_recv(context)) {
                Some(piece) => piece,
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            },
        };
        body.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
