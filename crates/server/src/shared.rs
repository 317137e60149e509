//! What the threads of a member share: the services, the ports, and what is shown of the member.

use crate::ports::Ports;
use crate::ticks::Ticks;
use crate::waiting_pages::WaitingPages;
use metrics::{Metrics, Sources};
use parking_lot::RwLock;
use services::{Common, Member, Services};
use std::path::PathBuf;
use std::sync::Arc;

/// What is shared. Nothing in it changes but behind its own lock or mailbox.
pub(crate) struct Shared {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) services: Arc<Services>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ticks: Ticks,
    /// Where the database file is.
    pub(crate) database: PathBuf,
    /// Pages that wait, towards clients and towards members.
    pub(crate) pages: Arc<WaitingPages>,
    pub(crate) peer_pages: Arc<WaitingPages>,
    /// The version that the storage says, if any; written by the apply thread.
    pub(crate) storage_version: RwLock<Option<String>>,
}

impl Shared {
    /// What the turns share with their callers.
    pub(crate) fn common(&self) -> &Common {
        self.ports.common()
    }

    /// The metrics page.
    pub(crate) fn metrics_page(&self, methods: &[metrics::MethodCounts]) -> String {
        let (common, services) = (self.common(), &self.services);
        let peers = self.ports.roster.network().map(|network| network.stats());
        let sources = Sources {
            figures: &common.figures,
            reader: &common.reader,
            members: &common.members(),
            peers: &peers.unwrap_or_default(),
            member_id: self.member_id,
            is_learner: common.is_learner(),
            proposals_pending: common.waiters.len(),
            quota_bytes: services.quota.shown_bytes(),
        };
        self.metrics.text(&sources, methods)
    }
}
