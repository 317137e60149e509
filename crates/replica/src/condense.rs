//! Messages of one turn that say together what fewer can say.
//!
//! Every message costs each side a wake-up and, on a narrow line, time. What a member has to send when it
//! has handled a batch of events is put together here:
//! - Of a follower's answers to appends, only the last is needed, since it promises all that the others
//!   do (reference: `raftNode.processMessages` in etcd's server).
//! - An append that continues the one before it becomes part of it, as if the leader had heard of its
//!   entries and of its commit index a moment earlier.
//! - An answer that repeats the last one tells a leader nothing if what it answers was only a commit
//!   index. It waits for company, at the latest until the next tick: if the leader has lost its count of
//!   what this member has, it learns it from there.
//! - A leader asks a member how far it is with every answer to a heartbeat, while entries are under way.
//!   Once in a tick is enough.

use proto::raftpb::{Entry, Message, MessageType};
use raft::wire::encoded_bytes;
use std::collections::BTreeMap;

/// Entries that are put into one append, in bytes.
const APPEND_BYTES_MAX: u64 = 64 * 1024;

/// Coalesces what a follower acknowledges to its leader: what the leader knows already is not sent at once.
#[derive(Debug, Default)]
pub(crate) struct AckCoalescer {
    /// The last that was promised.
    last: Option<Promise>,
    /// One that repeats it, and waits.
    held: Option<Message>,
    /// Some append since the last turn brought more than a commit index, or nothing.
    asked: bool,
}

/// To whom, in which term, up to which entry.
type Promise = (u64, u64, u64);

fn promise(message: &Message) -> Option<Promise> {
    let is_promise = message.r#type() == MessageType::MsgAppResp && !message.reject();
    is_promise.then(|| (message.to(), message.term(), message.index()))
}

impl AckCoalescer {
    /// An append came, which brought only a commit index, or something else.
    pub(crate) fn append_came(&mut self, only_commit: bool) {
        self.asked |= !only_commit;
    }

    /// Whether the leader knows this already, so that no write is behind it that must be awaited.
    pub(crate) fn repeats(&self, message: &Message) -> bool {
        self.last.is_some() && self.last == promise(message)
    }

    /// Gives what is to be sent now.
    pub(crate) fn pass(&mut self, message: Message) -> Option<Message> {
        if self.repeats(&message) && !self.asked {
            self.held = Some(message);
            return None;
        }
        if let Some(promise) = promise(&message) {
            self.last = Some(promise);
            self.held = None;
        }
        Some(message)
    }

    /// Ends a turn: what was held goes when time has passed, or with something else.
    pub(crate) fn end_turn(&mut self, ticked: bool, sends: &mut Vec<Message>) {
        self.asked = false;
        let goes =
            |held: &mut Message| ticked || sends.iter().any(|message| message.to() == held.to());
        sends.extend(self.held.take_if(goes));
    }
}

/// What a leader has sent its members.
#[derive(Debug, Default)]
pub(crate) struct Appends(BTreeMap<u64, Sent>);

/// The last append to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    term: u64,
    /// Where it ended.
    index: u64,
    commit: u64,
    tick: u64,
}

impl Appends {
    /// Takes out what says the same as the append before it.
    pub(crate) fn drop_repeated(&mut self, tick: u64, sends: &mut Vec<Message>) {
        sends.retain(|message| {
            message.r#type() != MessageType::MsgApp || self.is_new(tick, message)
        });
    }

    fn is_new(&mut self, tick: u64, message: &Message) -> bool {
        let index = message.index() + message.entries.len() as u64;
        let sent = Sent { term: message.term(), index, commit: message.commit(), tick };
        self.0.insert(message.to(), sent) != Some(sent) || !message.entries.is_empty()
    }
}

/// Puts together what can be.
pub(crate) fn condense(sends: &mut Vec<Message>) {
    if sends.len() < 2 {
        return;
    }
    let mut kept: Vec<Message> = Vec::with_capacity(sends.len());
    for message in sends.drain(..) {
        match message.r#type() {
            MessageType::MsgApp => add_append(&mut kept, message),
            MessageType::MsgAppResp => add_answer(&mut kept, message),
            _ => kept.push(message),
        }
    }
    *sends = kept;
}

/// The last message of this kind to the same member.
fn last_like<'k>(kept: &'k mut [Message], message: &Message) -> Option<&'k mut Message> {
    let is_like =
        |other: &&mut Message| other.to() == message.to() && other.r#type() == message.r#type();
    kept.iter_mut().rev().find(is_like)
}

fn add_append(kept: &mut Vec<Message>, mut message: Message) {
    match last_like(kept, &message) {
        Some(last) if continues(last, &message) => {
            last.commit = last.commit.max(message.commit);
            last.entries.append(&mut message.entries);
        }
        _ => kept.push(message),
    }
}

fn continues(last: &Message, next: &Message) -> bool {
    let end = last.entries.last();
    let end = end.map_or((last.log_term(), last.index()), |entry| (entry.term(), entry.index()));
    last.term == next.term
        && (next.log_term(), next.index()) == end
        && (next.entries.is_empty() || fits(&last.entries, &next.entries))
}

fn fits(entries: &[Entry], more: &[Entry]) -> bool {
    encoded_bytes(entries) + encoded_bytes(more) <= APPEND_BYTES_MAX
}

fn add_answer(kept: &mut Vec<Message>, message: Message) {
    match last_like(kept, &message) {
        Some(last)
            if !last.reject()
                && !message.reject()
                && last.term == message.term
                && last.index <= message.index =>
        {
            *last = message;
        }
        _ => kept.push(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(to: u64, index: u64, entries: &[u64], commit: u64) -> Message {
        let entry = |index: &u64| Entry { term: Some(2), index: Some(*index), ..Entry::default() };
        Message {
            r#type: Some(MessageType::MsgApp as i32),
            to: Some(to),
            term: Some(2),
            log_term: Some(2),
            index: Some(index),
            commit: Some(commit),
            entries: entries.iter().map(entry).collect(),
            ..Message::default()
        }
    }

    fn answer(index: u64) -> Message {
        Message {
            r#type: Some(MessageType::MsgAppResp as i32),
            to: Some(1),
            term: Some(2),
            index: Some(index),
            ..Message::default()
        }
    }

    fn refusal(index: u64) -> Message {
        Message { reject: Some(true), ..answer(index) }
    }

    fn heartbeat() -> Message {
        let kind = MessageType::MsgHeartbeatResp as i32;
        Message { r#type: Some(kind), to: Some(1), term: Some(2), ..Message::default() }
    }

    fn condensed(mut messages: Vec<Message>) -> Vec<Message> {
        condense(&mut messages);
        messages
    }

    #[test]
    fn appends_that_continue_become_one() {
        let messages = vec![
            append(1, 5, &[6], 4),
            append(2, 5, &[6], 4),
            append(1, 6, &[], 5),
            append(1, 6, &[7, 8], 5),
            append(2, 6, &[], 6),
        ];
        let expected = vec![append(1, 5, &[6, 7, 8], 5), append(2, 5, &[6], 6)];
        assert_eq!(condensed(messages), expected);
    }

    #[test]
    fn appends_that_do_not_continue_stay() {
        let later = Message { term: Some(3), ..append(1, 6, &[], 6) };
        let other_log = Message { log_term: Some(1), ..append(1, 6, &[], 6) };
        for next in [append(1, 5, &[6], 5), append(1, 7, &[8], 5), later, other_log] {
            let messages = vec![append(1, 5, &[6], 4), next];
            assert_eq!(condensed(messages.clone()), messages);
        }
        let mut large = append(1, 6, &[7], 4);
        large.entries[0].data = Some(vec![0; APPEND_BYTES_MAX as usize].into());
        let messages = vec![append(1, 5, &[6], 4), large];
        assert_eq!(condensed(messages.clone()), messages);
    }

    #[test]
    fn the_last_promise_is_enough_and_every_refusal_is_heard() {
        let messages = vec![answer(5), heartbeat(), answer(6), refusal(7), answer(8), answer(9)];
        let expected = vec![answer(6), heartbeat(), refusal(7), answer(9)];
        assert_eq!(condensed(messages), expected);
        assert_eq!(condensed(vec![answer(6), answer(5)]), [answer(6), answer(5)]);
    }

    #[test]
    fn a_member_is_asked_the_same_once_in_a_tick() {
        let mut appends = Appends::default();
        let mut sent = |tick, messages: &[Message]| {
            let mut sends = messages.to_vec();
            appends.drop_repeated(tick, &mut sends);
            sends
        };
        let news = [append(1, 5, &[6], 4), append(2, 6, &[], 4), append(1, 6, &[], 5), heartbeat()];
        assert_eq!(sent(1, &news), news);
        assert_eq!(sent(1, &[append(1, 6, &[], 5), heartbeat()]), [heartbeat()]);
        // Entries that are sent again are wanted.
        let again = [append(1, 5, &[6], 5)];
        assert_eq!(sent(1, &again), again);
        assert_eq!(sent(2, &[append(1, 6, &[], 5)]), [append(1, 6, &[], 5)]);
    }

    #[test]
    fn an_answer_to_a_commit_index_waits_for_company_or_a_tick() {
        let mut acks = AckCoalescer::default();
        acks.append_came(false);
        assert_eq!(acks.pass(answer(5)), Some(answer(5)));
        for (ticked, mut sends) in [(true, vec![]), (false, vec![heartbeat()])] {
            acks.end_turn(false, &mut Vec::new());
            acks.append_came(true);
            assert!(acks.repeats(&answer(5)));
            assert_eq!(acks.pass(answer(5)), None);
            acks.end_turn(ticked, &mut sends);
            assert_eq!(sends.last(), Some(&answer(5)));
        }
    }

    #[test]
    fn an_answer_that_is_asked_for_goes_at_once() {
        let mut acks = AckCoalescer::default();
        acks.append_came(false);
        acks.pass(answer(5));
        assert_eq!(acks.pass(answer(5)), Some(answer(5)));
        acks.end_turn(false, &mut Vec::new());
        acks.append_came(true);
        acks.append_came(false);
        assert_eq!(acks.pass(answer(5)), Some(answer(5)));
    }

    #[test]
    fn a_new_promise_takes_the_place_of_one_that_waits() {
        let mut acks = AckCoalescer::default();
        acks.append_came(false);
        acks.pass(answer(5));
        acks.end_turn(false, &mut Vec::new());
        acks.append_came(true);
        assert_eq!(acks.pass(answer(5)), None);
        assert_eq!(acks.pass(answer(6)), Some(answer(6)));
        let mut sends = Vec::new();
        acks.end_turn(true, &mut sends);
        assert_eq!(sends, []);
    }
}
