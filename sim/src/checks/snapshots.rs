//! Snapshots: a leader's message says of the database that goes with it what the database holds.

use super::{Violation, ensure};
use backend::Reader;
use proto::raftpb::Message;

/// A message is sent with the database of this reader, as it is in the file.
pub(crate) fn goes(message: &Message, database: &Reader) -> Result<(), Violation> {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    let said = metadata.map(|metadata| (metadata.index(), metadata.term()));
    let held = database.applied().ok().map(|applied| (applied.index, applied.term));
    ensure("snapshots", said.is_some() && said == held, || {
        format!("a database with entries up to {held:?} is sent as one with {said:?}")
    })
}
