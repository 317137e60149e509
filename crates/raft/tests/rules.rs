//! Rules that recorded interactions do not reach, one test each.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use bytes::Bytes;
use proto::raftpb::{
    ConfChange, ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot,
};
use raft::{
    Config, ConfigError, Dropped, MemoryStorage, Node, ReadOnly, ReadState, Role, StepError,
    Storage,
};

const CONFIG: Config = Config {
    id: 1,
    election_ticks: 10,
    heartbeat_ticks: 1,
    applied: 0,
    async_storage_writes: false,
    message_bytes_max: 1 << 20,
    applying_bytes_max: 0,
    uncommitted_bytes_max: 1000,
    inflight_count_max: 16,
    inflight_bytes_max: 0,
    check_quorum: false,
    pre_vote: false,
    read_only: ReadOnly::Safe,
    disable_proposal_forwarding: false,
    disable_conf_change_validation: false,
    step_down_on_removal: false,
    seed: 1,
};

fn entry(index: u64, term: u64) -> Entry {
    Entry { term: Some(term), index: Some(index), ..Entry::default() }
}

fn storage(voters: u64, term: u64, entries: Vec<Entry>) -> MemoryStorage {
    let conf_state = ConfState { voters: (1..=voters).collect(), ..ConfState::default() };
    let hard_state = HardState { term: Some(term), vote: Some(0), commit: Some(0) };
    MemoryStorage::restored(hard_state, conf_state, (0, 0), entries)
}

fn node(voters: u64, config: Config) -> Node<MemoryStorage> {
    Node::new(config, storage(voters, 0, Vec::new())).unwrap()
}

fn message(kind: MessageType, from: u64, term: u64) -> Message {
    let (from, term) = (Some(from), Some(term));
    Message { r#type: Some(kind as i32), to: Some(1), from, term, ..Message::default() }
}

/// Persists and applies everything; what is to be sent.
fn work(node: &mut Node<MemoryStorage>) -> (Vec<Message>, Vec<ReadState>) {
    let (mut sent, mut reads) = (Vec::new(), Vec::new());
    while node.has_ready() {
        let ready = node.ready();
        node.storage_mut().append(ready.entries);
        sent.extend(ready.messages);
        reads.extend(ready.read_states);
        node.advance();
        node.check();
    }
    (sent, reads)
}

/// Node 1 leads term 1 of so many voters.
fn leader(voters: u64, config: Config) -> Node<MemoryStorage> {
    let mut node = node(voters, config);
    elect(&mut node, 1);
    node
}

fn elect(node: &mut Node<MemoryStorage>, term: u64) {
    node.campaign();
    work(node);
    node.step(message(MessageType::MsgVoteResp, 2, term)).unwrap();
    work(node);
    assert_eq!((node.basic_status().role, node.basic_status().term), (Role::Leader, term));
}

fn acknowledge(node: &mut Node<MemoryStorage>, from: u64, index: u64) {
    let term = node.basic_status().term;
    let response = message(MessageType::MsgAppResp, from, term);
    node.step(Message { index: Some(index), ..response }).unwrap();
    work(node);
}

#[test]
fn entries_of_earlier_terms_are_committed_by_one_of_this_term() {
    // Thesis, figure 3.7: a quorum that holds an entry of an earlier term proves nothing.
    let mut node = Node::new(CONFIG, storage(3, 3, vec![entry(1, 1), entry(2, 2)])).unwrap();
    elect(&mut node, 4);
    acknowledge(&mut node, 2, 2);
    assert_eq!(node.basic_status().committed, 0);
    acknowledge(&mut node, 2, 3);
    assert_eq!(node.basic_status().committed, 3);
}

#[test]
fn uncommitted_bytes_are_bounded_but_one_proposal_always_goes() {
    let mut node = leader(3, CONFIG);
    acknowledge(&mut node, 2, 1);
    node.propose(vec![0; 5000].into()).unwrap();
    assert_eq!(node.propose(vec![0; 1].into()), Err(Dropped::TooManyUncommitted));
    node.propose(Bytes::new()).unwrap();
    work(&mut node);
    acknowledge(&mut node, 2, 3);
    node.propose(vec![0; 900].into()).unwrap();
}

#[test]
fn nothing_that_others_send_can_stop_a_node() {
    let strange = || {
        let bad = Entry {
            r#type: Some(EntryType::EntryConfChangeV2 as i32),
            data: Some(Bytes::from_static(b"\xff\xff")),
            ..Entry::default()
        };
        let gap = message(MessageType::MsgApp, 2, 1);
        vec![
            message(MessageType::MsgProp, 2, 1),
            Message { entries: vec![bad], ..message(MessageType::MsgProp, 2, 0) },
            message(MessageType::MsgReadIndex, 2, 0),
            message(MessageType::MsgReadIndexResp, 2, 1),
            message(MessageType::MsgTransferLeader, 3, 1),
            message(MessageType::MsgTransferLeader, 3, 0),
            Message { index: Some(99), ..message(MessageType::MsgAppResp, 2, 1) },
            Message {
                reject: Some(true),
                reject_hint: Some(u64::MAX),
                ..message(MessageType::MsgAppResp, 2, 1)
            },
            Message {
                context: Some(Bytes::from_static(b"short")),
                ..message(MessageType::MsgHeartbeatResp, 2, 1)
            },
            Message {
                context: Some(u64::MAX.to_le_bytes().to_vec().into()),
                ..message(MessageType::MsgHeartbeatResp, 2, 1)
            },
            Message { entries: vec![entry(7, 1)], ..gap.clone() },
            Message { entries: vec![entry(1, 1), entry(3, 1)], ..gap },
            Message { r#type: Some(77), ..message(MessageType::MsgProp, 2, 1) },
        ]
    };
    for mut node in [node(3, CONFIG), leader(3, CONFIG)] {
        let leads = node.basic_status().role == Role::Leader;
        for message in
            strange().into_iter().filter(|one| !leads || one.r#type() != MessageType::MsgApp)
        {
            let _ = node.step(message);
            work(&mut node);
        }
        let hup = message(MessageType::MsgHup, 2, 0);
        assert_eq!(node.step(hup), Err(StepError::Local));
        let stranger = message(MessageType::MsgAppResp, 9, 1);
        assert_eq!(node.step(stranger), Err(StepError::UnknownPeer));
        let empty =
            Message { snapshot: Some(Snapshot::default()), ..message(MessageType::MsgSnap, 3, 2) };
        node.step(empty).unwrap();
        work(&mut node);
        assert_eq!(node.basic_status().leader, 3);
    }
}

/// Every kind of message that another member sends, without a term.
fn without_term() -> impl Iterator<Item = Message> {
    use MessageType::*;
    let kinds = [
        MsgApp,
        MsgAppResp,
        MsgVote,
        MsgVoteResp,
        MsgSnap,
        MsgHeartbeat,
        MsgHeartbeatResp,
        MsgTransferLeader,
        MsgTimeoutNow,
        MsgReadIndexResp,
        MsgPreVote,
        MsgPreVoteResp,
        MsgForgetLeader,
    ];
    kinds.into_iter().map(|kind| message(kind, 2, 0))
}

#[test]
fn no_message_of_another_member_counts_as_the_own_for_it_has_no_term() {
    let mut candidate = node(3, CONFIG);
    candidate.campaign();
    for mut node in [node(3, CONFIG), candidate, leader(3, CONFIG)] {
        work(&mut node);
        let before = node.basic_status();
        for message in without_term() {
            let kind = message.r#type();
            assert_eq!(node.step(message), Err(StepError::Local), "{kind:?}");
            assert!(work(&mut node).0.is_empty(), "{kind:?} is answered");
            assert_eq!(node.basic_status(), before, "{kind:?}");
            node.check();
        }
        // Proposals and reads are passed on without one.
        let proposal =
            Message { entries: vec![Entry::default()], ..message(MessageType::MsgProp, 2, 0) };
        assert_ne!(node.step(proposal), Err(StepError::Local));
        assert_ne!(node.step(message(MessageType::MsgReadIndex, 2, 0)), Err(StepError::Local));
    }
}

#[test]
fn a_safe_read_waits_for_a_quorum_and_a_first_commit() {
    let mut node = leader(3, CONFIG);
    node.read_index(Bytes::from_static(b"early"));
    assert!(work(&mut node).1.is_empty());
    let append = message(MessageType::MsgAppResp, 2, 1);
    node.step(Message { index: Some(1), ..append }).unwrap();
    let (sent, reads) = work(&mut node);
    assert!(reads.is_empty());
    let is_heartbeat = |one: &&Message| one.r#type() == MessageType::MsgHeartbeat;
    let context = sent.iter().find(is_heartbeat).unwrap().context.clone();
    let response = message(MessageType::MsgHeartbeatResp, 3, 1);
    node.step(Message { context, ..response }).unwrap();
    let state = ReadState { index: 1, context: Bytes::from_static(b"early") };
    assert_eq!(work(&mut node).1, [state]);
}

#[test]
fn an_only_voter_answers_reads_when_it_knows_what_is_committed() {
    // The commit index on its disk may be older than what it acknowledged before it crashed.
    let mut node = Node::new(CONFIG, storage(1, 3, vec![entry(1, 3), entry(2, 3)])).unwrap();
    node.campaign();
    node.ready();
    node.advance();
    assert_eq!((node.basic_status().role, node.basic_status().committed), (Role::Leader, 0));
    node.read_index(Bytes::from_static(b"read"));
    let ready = node.ready();
    assert!(ready.read_states.is_empty());
    node.storage_mut().append(ready.entries);
    node.advance();
    assert_eq!(work(&mut node).1[0].index, 3);
}

#[test]
fn a_lease_answers_reads_at_once() {
    let lease = Config { read_only: ReadOnly::LeaseBased, check_quorum: true, ..CONFIG };
    let mut node = leader(3, lease);
    acknowledge(&mut node, 2, 1);
    node.read_index(Bytes::from_static(b"now"));
    assert_eq!(work(&mut node).1.len(), 1);
    let alone = Config { read_only: ReadOnly::LeaseBased, ..CONFIG };
    let wrong = Node::new(alone, MemoryStorage::new());
    assert_eq!(wrong.unwrap_err(), ConfigError::LeaseWithoutCheckQuorum);
}

#[test]
fn followers_pass_proposals_on_unless_told_not_to() {
    for (disable_proposal_forwarding, expected) in
        [(false, Ok(())), (true, Err(Dropped::NotForwarded))]
    {
        let mut node = node(3, Config { disable_proposal_forwarding, ..CONFIG });
        assert_eq!(node.propose(Bytes::new()), Err(Dropped::NoLeader));
        node.step(message(MessageType::MsgHeartbeat, 2, 1)).unwrap();
        work(&mut node);
        assert_eq!(node.propose(Bytes::new()), expected);
        let (sent, _) = work(&mut node);
        assert!(sent.iter().all(|one| one.to() == 2 && one.term() == 0));
        assert_eq!(sent.len(), usize::from(expected.is_ok()));
    }
}

#[test]
fn a_change_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut node = node(1, CONFIG);
    let before = node.conf_state();
    let remove = ConfChange { r#type: Some(1), node_id: Some(1), ..ConfChange::default() };
    assert_eq!(node.apply_conf_change(&remove).unwrap_err().to_string(), "removed all voters");
    assert_eq!(node.conf_state(), before);
    let refused = ConfChange { node_id: Some(0), ..remove };
    assert_eq!(node.apply_conf_change(&refused).unwrap(), before);
}

#[test]
fn a_second_configuration_change_becomes_an_empty_entry() {
    let mut node = leader(3, CONFIG);
    acknowledge(&mut node, 2, 1);
    let learner = ConfChange { r#type: Some(3), node_id: Some(4), ..ConfChange::default() };
    node.propose_conf_change(&learner).unwrap();
    node.propose_conf_change(&learner).unwrap();
    work(&mut node);
    let entries = node.storage().entries(2, 4, u64::MAX).unwrap();
    let kinds: Vec<EntryType> = entries.iter().map(Entry::r#type).collect();
    assert_eq!(kinds, [EntryType::EntryConfChange, EntryType::EntryNormal]);
}

#[test]
fn election_timeouts_spread_between_one_and_two() {
    let ticks = |seed| {
        let mut node = node(3, Config { seed, ..CONFIG });
        (1..).find(|_| {
            node.tick();
            node.basic_status().role == Role::Candidate
        })
    };
    let mut found: Vec<u32> = (0..100).filter_map(ticks).collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, (10..20).collect::<Vec<u32>>());
}

#[test]
fn a_cluster_begins_with_its_voters_in_the_log() {
    let mut node = Node::new(CONFIG, MemoryStorage::new()).unwrap();
    node.bootstrap(&[(1, None), (2, Some(Bytes::from_static(b"second")))]);
    let ready = node.ready();
    assert_eq!(ready.hard_state, Some(HardState { term: Some(1), vote: Some(0), commit: Some(2) }));
    assert_eq!((ready.entries.len(), ready.committed.len()), (2, 2));
    assert_eq!(node.conf_state().voters, [1, 2]);
}

#[test]
fn a_hand_over_stops_proposals_until_it_fails() {
    let mut node = leader(3, CONFIG);
    acknowledge(&mut node, 2, 1);
    node.transfer_leader(3);
    assert_eq!(node.propose(Bytes::new()), Err(Dropped::Transferring));
    (0..10).for_each(|_| node.tick());
    assert_eq!(node.propose(Bytes::new()), Ok(()));
    node.transfer_leader(2);
    acknowledge(&mut node, 2, 1);
    let append = message(MessageType::MsgAppResp, 2, 1);
    node.step(Message { index: Some(2), ..append }).unwrap();
    let (sent, _) = work(&mut node);
    assert!(sent.iter().any(|one| (one.to(), one.r#type()) == (2, MessageType::MsgTimeoutNow)));
}
