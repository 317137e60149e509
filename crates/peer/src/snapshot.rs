//! Databases on their way to a peer: `POST /raft/snapshot`, a raft message and then the file.

use crate::codec::{Output, message};
use crate::failure::Failure;
use crate::handler::{Handler, Note};
use crate::pipeline;
use crate::shared::Shared;
use crate::status::Status;
use crate::urls::Picker;
use address::Url;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{Method, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use prost::Message as _;
use proto::raftpb::Message;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Read from the file at once.
const READ_BYTES: usize = 256 * 1024;
/// Pieces read ahead.
const READ_AHEAD: usize = 2;

/// A database, and the raft message in front of it.
pub(crate) struct Database {
    pub(crate) message: Message,
    /// How much `reader` gives.
    pub(crate) total_bytes: u64,
    pub(crate) reader: Box<dyn Read + Send>,
}

/// Sends one database. Whatever becomes of it, raft is told once.
pub(crate) struct SnapshotSender {
    shared: Arc<Shared>,
    picker: Arc<Picker>,
    status: Arc<Status>,
    report: Report,
}

impl SnapshotSender {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        picker: &Arc<Picker>,
        status: &Arc<Status>,
    ) -> SnapshotSender {
        let report = Report { handler: Arc::clone(&shared.handler), id: status.id(), ok: false };
        let (picker, status) = (Arc::clone(picker), Arc::clone(status));
        SnapshotSender { shared: Arc::clone(shared), picker, status, report }
    }

    /// Ends when the peer has it or will not get it.
    pub(crate) async fn run(mut self, database: Database) {
        let (began, id) = (Instant::now(), self.status.id());
        let url = self.picker.pick();
        let index = index_of(&database.message);
        let bytes = database.message.encoded_len() as u64 + database.total_bytes;
        self.shared.handler.note(&Note::SnapshotSending { id, index, bytes });
        let result = self.post(&url, database).await;
        let why = result.as_ref().err().map(Failure::to_string);
        let note =
            Note::SnapshotSent { id, index, bytes, took: began.elapsed(), why: why.as_deref() };
        self.shared.handler.note(&note);
        match result {
            Ok(bytes) => {
                self.status.activate();
                self.status.sent(bytes);
                self.report.ok = true;
            }
            Err(failure) => {
                self.picker.unreachable(&url);
                self.status.deactivate(&failure.to_string());
                self.status.send_failed();
                if matches!(failure, Failure::Removed) {
                    self.shared.handler.expelled(id);
                }
            }
        }
    }

    /// How many bytes the peer took.
    async fn post(&self, url: &Url, database: Database) -> Result<usize, Failure> {
        let Database { message, total_bytes, reader } = database;
        let mut output = Output::default();
        message::encode(&message, &mut output);
        let bytes = output.len() as u64 + total_bytes;
        let (pieces, body) = mpsc::channel(READ_AHEAD);
        let request = self
            .shared
            .identity
            .request(Method::POST, url.escaped_host(), "/raft/snapshot")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(SnapshotBody { output, pieces: body, left: bytes })
            .expect("an address that was parsed makes a request");
        let mut connection = self.shared.open(url).await?;
        let reading = tokio::task::spawn_blocking(move || read(reader, total_bytes, &pieces));
        let answering = connection.send_request(request);
        let response = self.answer(answering, reading).await?;
        pipeline::check(response, self.shared.config.limits.read_timeout).await?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Waits as long as there is something to read, which goes at the pace of writing and so does
    /// not stall; and then for the peer to save it all.
    async fn answer(
        &self,
        answering: impl Future<Output = hyper::Result<Response<Incoming>>>,
        reading: JoinHandle<()>,
    ) -> Result<Response<Incoming>, Failure> {
        tokio::pin!(answering);
        tokio::select! {
            response = &mut answering => return Ok(response?),
            _ = reading => {}
        }
        let limit = self.shared.config.limits.snapshot_answer_timeout;
        let response = timeout(limit, answering).await;
        Ok(response.map_err(|_| Failure::TimedOut("waiting for the database to be saved"))??)
    }
}

/// The last entry that a snapshot's database holds.
pub(crate) fn index_of(message: &Message) -> u64 {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    metadata.map_or(0, |metadata| metadata.index())
}

/// Tells raft, also when the task is ended from outside or never began.
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
