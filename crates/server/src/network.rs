//! The way to the other members, as this member's parts see it; [`peer::Transport`] is the one that goes over
//! sockets.

use backend::Snapshot;
use bytes::Bytes;
use peer::PeerStats;
use proto::raftpb::Message;
use std::time::{Duration, Instant};

/// What another member answered over plain HTTP: its status and the body, or why it did not.
pub(crate) type Answer = Result<(u16, Bytes), String>;

/// The way to the other members. Messages may be lost; nothing here waits.
pub(crate) trait Network: Send + Sync {
    /// Sends raft's messages to the members that they name.
    fn send(&self, messages: Vec<Message>);
    /// Sends a snapshot: the message, and the database that belongs to it.
    fn send_snapshot(&self, message: Message, database: Snapshot);
    /// A member to talk to from now on.
    fn add(&self, id: u64, peer_urls: &[String]);
    /// A member has other URLs.
    fn update(&self, id: u64, peer_urls: &[String]);
    /// A member is gone.
    fn remove(&self, id: u64);
    /// Since when a member has been heard without a break.
    fn active_since(&self, id: u64) -> Option<Instant>;
    /// How many members bytes go to and come from.
    fn active_peers(&self) -> usize;
    /// Every other member's counts, by id.
    fn stats(&self) -> Vec<(u64, PeerStats)>;
    /// Posts a request to one of these URLs, in turn until one answers.
    fn post(
        &self,
        urls: Vec<String>,
        path: String,
        body: Bytes,
        limit: Duration,
        then: Box<dyn FnOnce(Answer) + Send>,
    );
    /// Gets a page from one of these URLs, in turn until one answers.
    fn get(
        &self,
        urls: Vec<String>,
        path: String,
        limit: Duration,
        then: Box<dyn FnOnce(Answer) + Send>,
    );
}
