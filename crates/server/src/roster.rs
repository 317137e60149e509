//! The members as of what is applied, for every thread.

use crate::lines;
use crate::network::Network;
use membership::Members;
use services::Common;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The members, as the turns show them, and the way to them.
pub(crate) struct Roster {
    common: Arc<Common>,
    network: OnceLock<Arc<dyn Network>>,
}

impl Roster {
    /// The members at the start.
    pub(crate) fn new(common: Arc<Common>) -> Roster {
        Roster { common, network: OnceLock::new() }
    }

    /// Who they are now.
    pub(crate) fn members(&self) -> Arc<Members> {
        self.common.members()
    }

    /// Whether this member has no vote yet.
    pub(crate) fn is_learner(&self) -> bool {
        self.common.is_learner()
    }

    /// Whether this member was removed from the cluster.
    pub(crate) fn is_removed(&self) -> bool {
        self.common.is_removed()
    }

    /// Another member says that this one was removed.
    pub(crate) fn expel(&self) {
        self.common.expel();
    }

    /// The way to the others, once there is one.
    pub(crate) fn network(&self) -> Option<&Arc<dyn Network>> {
        self.network.get()
    }

    /// Opens the way to the others.
    pub(crate) fn connect(&self, network: Arc<dyn Network>) {
        let peers = self.peers();
        for (id, urls) in &peers {
            network.add(*id, urls);
            lines::peer_added(self.common.member_id, *id, urls);
        }
        assert!(self.network.set(network).is_ok(), "there is one way to the others");
        // What changed meanwhile.
        self.follow(&peers);
    }

    /// Publishes who the members are now; connections follow.
    pub(crate) fn publish(&self, members: Members) {
        let before = self.peers();
        self.common.show_members(members);
        self.follow(&before);
    }

    fn follow(&self, before: &BTreeMap<u64, Vec<String>>) {
        let Some(network) = self.network.get() else { return };
        let now = self.peers();
        for id in before.keys().filter(|id| !now.contains_key(id)) {
            network.remove(*id);
            lines::peer_removed(self.common.member_id, *id);
        }
        for (id, urls) in &now {
            match before.get(id) {
                None => {
                    network.add(*id, urls);
                    lines::peer_added(self.common.member_id, *id, urls);
                }
                Some(old) if old != urls => {
                    network.update(*id, urls);
                    lines::peer_updated(self.common.member_id, *id, urls);
                }
                Some(_) => {}
            }
        }
    }

    /// The others and their URLs.
    fn peers(&self) -> BTreeMap<u64, Vec<String>> {
        let members = self.members();
        let others = members.list().filter(|member| member.id != self.common.member_id);
        others.map(|member| (member.id, member.peer_urls.clone())).collect()
    }
}
