//! What all parts of a transport have in common.

use crate::config::Config;
use crate::failure::Failure;
use crate::handler::Handler;
use crate::headers::Identity;
use crate::idle::Idle;
use crate::link::Dialer;
use address::Url;
use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use proto::raftpb::Message;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// What all parts of a transport have in common.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) dialer: Dialer,
    pub(crate) idle: Idle,
    /// Runs what brings messages and takes them away.
    pub(crate) streams: Handle,
    /// Runs what may take long.
    pub(crate) bulk: Handle,
}

/// Why a message was not handed to the member; the texts are etcd's.
#[derive(thiserror::Error, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its sender was removed.
    #[error("cannot process message from removed member")]
    RemovedSender,
    /// It is for another member.
    #[error("cannot process message to mismatch member")]
    Misdirected,
    /// The member has no room.
    #[error("the member is overloaded")]
    Overloaded,
}

impl Shared {
    /// Hands a raft message to the member, if it may have it.
    pub(crate) fn deliver(&self, message: Message) -> Result<(), Refusal> {
        self.admit(&message)?;
        self.handler.process(message).map_err(|_| Refusal::Overloaded)
    }

    /// Whether the member may have a message.
    pub(crate) fn admit(&self, message: &Message) -> Result<(), Refusal> {
        if self.handler.is_removed(message.from()) {
            return Err(Refusal::RemovedSender);
        }
        match message.to() == self.config.member_id {
            true => Ok(()),
            false => Err(Refusal::Misdirected),
        }
    }

    /// A fresh connection to `url`, for requests with bodies of type `B`.
    pub(crate) async fn open<B>(&self, url: &Url) -> Result<SendRequest<B>, Failure>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let link = self.dialer.connect(url).await?;
        let handshake = http1::handshake(TokioIo::new(link));
        let limit = self.config.limits.read_timeout;
        let opened = timeout(limit, handshake).await;
        let (sender, connection) = opened.map_err(|_| Failure::TimedOut("connecting"))??;
        // It ends with its requests; what breaks it is told to whoever waits for an answer.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }
}
