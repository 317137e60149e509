//! Databases that come in: saved whole and synced before raft hears of them.

use crate::answer::{self, Reply};
use crate::body;
use crate::codec::{CodecError, message};
use crate::failure::Failure;
use crate::handler::{Handler, Note, Overloaded};
use crate::server::Served;
use crate::shared::{Refusal, Shared};
use crate::snapshot::index_of;
use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use prost::Message as _;
use proto::raftpb::{Message, MessageType};
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Pieces that wait for the disk.
const WRITE_BEHIND: usize = 16;

/// Why a database was not taken, as status and text.
type Refused = (StatusCode, String);

/// Takes a raft message and a database from `body`.
pub(crate) async fn receive(served: &Arc<Served>, body: Incoming) -> Response<Reply> {
    let began = Instant::now();
    let Ok(_permit) = served.snapshots.try_acquire() else {
        return answer::text(StatusCode::SERVICE_UNAVAILABLE, "too many snapshots come in");
    };
    let ((id, index), result) = receive_from(served, body).await;
    let why = result.as_ref().err().map(|(_, text)| text.as_str());
    if id != 0 {
        let bytes = *result.as_ref().unwrap_or(&0) as u64;
        let took = began.elapsed();
        served.shared.handler.note(&Note::SnapshotReceived { id, index, bytes, took, why });
    }
    match result {
        Ok(_) => answer::empty(StatusCode::NO_CONTENT),
        Err((status, text)) => answer::text(status, &text),
    }
}

/// Who sent which, and how much was saved.
async fn receive_from(
    served: &Arc<Served>,
    mut body: Incoming,
) -> ((u64, u64), Result<usize, Refused>) {
    let shared = &served.shared;
    let (message, rest) = match head(shared, &mut body).await {
        Ok(head) => head,
        Err(why) => {
            let text = format!("failed to decode raft message ({why})");
            return ((0, 0), Err((StatusCode::BAD_REQUEST, text)));
        }
    };
    let (id, index, length) = (message.from(), index_of(&message), message.encoded_len());
    let note = Note::SnapshotComing { id, index, message_bytes: length as u64 };
    shared.handler.note(&note);
    served.received(id, length);
    ((id, index), save_and_deliver(served, message, rest, body).await)
}

async fn save_and_deliver(
    served: &Arc<Served>,
    message: Message,
    rest: Vec<Bytes>,
    body: Incoming,
) -> Result<usize, Refused> {
    let shared = &served.shared;
    if message.r#type() != MessageType::MsgSnap {
        return Err((StatusCode::BAD_REQUEST, "wrong raft message type".to_owned()));
    }
    shared.admit(&message).map_err(not_processed)?;
    let bytes = save(shared, &message, rest, body).await.map_err(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to save KV snapshot ({error})"))
    })?;
    served.received(message.from(), bytes);
    let delivered = deliver(shared, message).await;
    delivered.map_err(|Overloaded| not_processed(Refusal::Overloaded))?;
    Ok(bytes)
}

fn not_processed(why: Refusal) -> Refused {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to process raft message ({why})"))
}

async fn deliver(shared: &Arc<Shared>, message: Message) -> Result<(), Overloaded> {
    let handler = Arc::clone(&shared.handler);
    let delivered = tokio::task::spawn_blocking(move || handler.snapshot_received(message)).await;
    // A handler that panicked took nothing.
    delivered.unwrap_or(Err(Overloaded))
}

/// The raft message, and what came with it of the database.
async fn head(shared: &Shared, body: &mut Incoming) -> Result<(Message, Vec<Bytes>), Failure> {
    let limits = &shared.config.limits;
    let mut decoder = message::Decoder::new(limits.snapshot_message_bytes_max);
    loop {
        if let Some(message) = decoder.message()? {
            return Ok((message, decoder.into_rest().collect()));
        }
        let Some(piece) = body::piece(body, limits.read_timeout).await? else {
            return Err(CodecError::Truncated.into());
        };
        decoder.push(piece);
    }
}

/// What the saving thread hears.
enum Chunk {
    Data(Bytes),
    /// The database is whole. Where this does not come, it is not.
    End,
}

/// Saves a database; gives its length.
async fn save(
    shared: &Arc<Shared>,
    message: &Message,
    rest: Vec<Bytes>,
    body: Incoming,
) -> io::Result<usize> {
    let (chunks, receiver) = mpsc::channel(WRITE_BEHIND);
    let (handler, head) = (Arc::clone(&shared.handler), message.clone());
    let saving = tokio::task::spawn_blocking(move || write(&*handler, &head, receiver));
    let feeding = feed(shared, rest, body, chunks).await;
    let saved = saving.await.map_err(io::Error::other)?;
    // If both failed, the disk's reason made the other one.
    saved.and_then(|saved| feeding.map(|()| saved))
}

async fn feed(
    shared: &Shared,
    rest: Vec<Bytes>,
    mut body: Incoming,
    chunks: mpsc::Sender<Chunk>,
) -> io::Result<()> {
    let limits = &shared.config.limits;
    let mut room = limits.database_bytes_max;
    let mut rest = rest.into_iter();
    loop {
        let next = match rest.next() {
            Some(piece) => Some(piece),
            None => body::piece(&mut body, limits.read_timeout).await.map_err(io::Error::other)?,
        };
        let chunk = next.map_or(Chunk::End, Chunk::Data);
        let is_last = matches!(chunk, Chunk::End);
        if let Chunk::Data(data) = &chunk {
            let left = room.checked_sub(data.len() as u64);
            room = left.ok_or_else(|| io::Error::other("the database is too large"))?;
        }
        if chunks.send(chunk).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// Hands on what comes; where the end does not come, what was written is dropped.
fn write(
    handler: &dyn Handler,
    message: &Message,
    mut chunks: mpsc::Receiver<Chunk>,
) -> io::Result<usize> {
    let mut intake = handler.take_database(message)?;
    let mut bytes = 0;
    loop {
        match chunks.blocking_recv() {
            Some(Chunk::Data(data)) => {
                intake.write(&data)?;
                bytes += data.len();
            }
            Some(Chunk::End) => break,
            None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "unexpected EOF")),
        }
    }
    intake.finish()?;
    Ok(bytes)
}
