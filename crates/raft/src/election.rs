//! Elections: campaigning, and granting votes (thesis, sections 3.4, 3.6.1 and 9.6).

use crate::quorum::VoteResult;
use crate::raft::{Campaign, Raft, Role};
use crate::storage::Storage;
use crate::wire::{self, NONE};
use proto::raftpb::{EntryType, Message, MessageType};

impl<S: Storage> Raft<S> {
    /// How an election begins here.
    pub(crate) fn first_campaign(&self) -> Campaign {
        if self.config.pre_vote { Campaign::PreElection } else { Campaign::Election }
    }

    /// Campaigns, if this node may: it votes, does not lead, and knows the configuration, that is
    /// has applied every committed change of it.
    pub(crate) fn hup(&mut self, campaign: Campaign) {
        let may = self.role != Role::Leader && self.is_promotable();
        if may && !self.has_unapplied_conf_change() {
            self.campaign(campaign);
        }
    }

    /// Whether a configuration change is committed and not applied. The entries in question are
    /// read in pieces of what may be applied at once.
    fn has_unapplied_conf_change(&self) -> bool {
        let mut from = self.log.applied + 1;
        while from <= self.log.committed {
            let page = self.log.slice(from, self.log.committed + 1, self.config.applying_bytes_max);
            let page = page.expect("entries that are not applied are kept");
            assert!(!page.is_empty(), "there are entries up to {}", self.log.committed);
            if page.iter().any(|entry| entry.r#type() != EntryType::EntryNormal) {
                return true;
            }
            from += page.len() as u64;
        }
        false
    }

    pub(crate) fn campaign(&mut self, campaign: Campaign) {
        let (kind, term) = if campaign == Campaign::PreElection {
            self.become_pre_candidate();
            (MessageType::MsgPreVote, self.term + 1)
        } else {
            self.become_candidate();
            (MessageType::MsgVote, self.term)
        };
        let last = self.log.last_id();
        let transfer = campaign == Campaign::Transfer;
        let context = transfer.then(|| bytes::Bytes::from_static(wire::CAMPAIGN_TRANSFER));
        for id in self.tracker.config.voters.ids() {
            if id == self.config.id {
                // The own vote counts when it is persisted, as any other.
                let response = wire::message(wire::vote_response(kind), id);
                self.send(Message { term: Some(term), ..response });
                continue;
            }
            self.send(Message {
                term: Some(term),
                index: Some(last.index),
                log_term: Some(last.term),
                context: context.clone(),
                ..wire::message(kind, id)
            });
        }
    }

    /// Grants a vote, or not: one for each term, and only to a candidate whose log holds whatever
    /// may be committed (thesis, sections 3.4 and 3.6.1). A learner votes, too: who asks may know
    /// that it has become a voter before itself does.
    pub(crate) fn consider_vote(&mut self, message: &Message) {
        let (kind, from) = (message.r#type(), message.from());
        let can_vote = self.vote == from
            || (self.vote == NONE && self.leader == NONE)
            || (kind == MessageType::MsgPreVote && message.term() > self.term);
        let theirs = crate::log::EntryId { index: message.index(), term: message.log_term() };
        let response = wire::message(wire::vote_response(kind), from);
        if !can_vote || !self.log.is_up_to_date(theirs) {
            self.send(Message { term: Some(self.term), reject: Some(true), ..response });
            return;
        }
        // The term asked for: in a pre-election it is not the own one, and an answer with that
        // would look out of date.
        self.send(Message { term: message.term, ..response });
        if kind == MessageType::MsgVote {
            let (term, vote) = (self.term, self.vote);
            assert_eq!(message.term(), term, "a vote is asked for in the term that is taken up");
            assert!(vote == NONE || vote == from, "a second vote in term {term}: {vote}, {from}");
            self.election_elapsed = 0;
            self.vote = from;
        }
    }

    /// Counts a vote, and does what follows from it.
    pub(crate) fn count_vote(&mut self, message: &Message) {
        self.tracker.record_vote(message.from(), !message.reject());
        match self.tracker.tally_votes() {
            VoteResult::Won if self.role == Role::PreCandidate => self.campaign(Campaign::Election),
            VoteResult::Won => {
                self.become_leader();
                self.broadcast_append();
            }
            VoteResult::Lost => self.become_follower(self.term, NONE),
            VoteResult::Pending => {}
        }
    }
}
