use super::*;
use prost::Message as _;
use proto::raftpb::{ConfChangeType, ConfState, EntryType};
use raft::Config;

/// A cluster's cores, without disks.
struct Group {
    cores: Vec<Core>,
    sent: Vec<Message>,
    writes: Vec<Vec<Persist>>,
    applied: Vec<Vec<Entry>>,
    readable: Vec<ReadState>,
}

impl Group {
    fn new(count: u64, catch_up: CatchUp) -> Group {
        let conf_state = ConfState { voters: (1..=count).collect(), ..ConfState::default() };
        let core = |id| {
            let config = Config {
                id,
                seed: id,
                async_storage_writes: true,
                check_quorum: true,
                pre_vote: true,
                ..Config::default()
            };
            let hard_state = HardState { term: Some(1), vote: Some(0), commit: Some(1) };
            let storage =
                MemoryStorage::restored(hard_state, conf_state.clone(), (1, 1), Vec::new());
            Core::new(Node::new(config, storage).unwrap(), catch_up, 10)
        };
        Group {
            cores: (1..=count).map(core).collect(),
            sent: Vec::new(),
            writes: vec![Vec::new(); count as usize],
            applied: vec![Vec::new(); count as usize],
            readable: Vec::new(),
        }
    }

    /// Collects what a core asks for; what is to be applied is applied at once.
    fn poll(&mut self, at: usize) {
        let mut commands = Vec::new();
        self.cores[at].poll(&mut commands);
        for command in commands {
            match command {
                Command::Send(messages) => self.sent.extend(messages),
                Command::Persist(persist) => self.writes[at].push(persist),
                Command::Apply(entries) => {
                    self.cores[at].applied(entries.last().unwrap().index(), &[]);
                    self.applied[at].extend(entries);
                }
                Command::Readable(states) => self.readable.extend(states),
                Command::Restore(_) => {}
            }
        }
    }

    fn persist(&mut self, at: usize) {
        let number = self.writes[at].drain(..).map(|persist| persist.number).max();
        self.cores[at].persisted(number.unwrap_or(0));
    }

    fn settle(&mut self) {
        self.settle_while_hung(None);
    }

    /// The disk of one of them does not answer.
    fn settle_while_hung(&mut self, hung: Option<usize>) {
        for _ in 0..30 {
            for at in 0..self.cores.len() {
                self.poll(at);
                if Some(at) != hung {
                    self.persist(at);
                }
                self.poll(at);
            }
            for message in std::mem::take(&mut self.sent) {
                self.cores[message.to() as usize - 1].step(message).unwrap();
            }
        }
    }

    /// Member 1 leads.
    fn led(count: u64) -> Group {
        Group::led_with(count, CatchUp::default())
    }

    fn led_with(count: u64, catch_up: CatchUp) -> Group {
        let mut group = Group::new(count, catch_up);
        group.cores[0].node.campaign();
        group.settle();
        assert_eq!(group.cores[0].status().role, Role::Leader);
        group
    }
}

#[test]
fn the_only_voter_leads_as_soon_as_its_vote_is_written() {
    let mut group = Group::new(1, CatchUp::default());
    group.cores[0].tick();
    group.poll(0);
    assert!(group.writes[0][0].sync && group.writes[0][0].hard_state.unwrap().term() == 2);
    assert_eq!(group.cores[0].status().role, Role::Candidate);
    group.cores[0].tick();
    group.persist(0);
    assert_eq!((group.cores[0].status().role, group.cores[0].status().term), (Role::Leader, 2));
    assert!(!group.cores[0].status().may_read);
    group.settle();
    assert!(group.cores[0].status().may_read);
}

#[test]
fn nothing_is_committed_before_the_own_disk_has_it() {
    let mut group = Group::led(1);
    group.cores[0].propose(Bytes::from_static(b"x")).unwrap();
    group.poll(0);
    let committed = group.cores[0].status().committed;
    assert_eq!(group.writes[0][0].entries.len(), 1);
    group.cores[0].persisted(group.writes[0][0].number - 1);
    assert_eq!(group.cores[0].status().committed, committed);
    group.persist(0);
    assert_eq!(group.cores[0].status().committed, committed + 1);
}

#[test]
fn a_commit_index_is_written_with_what_comes_next_or_at_the_next_tick() {
    let mut group = Group::led(1);
    let commit = |write: &Persist| write.hard_state.unwrap().commit();
    for _ in 0..2 {
        group.cores[0].propose(Bytes::from_static(b"x")).unwrap();
        group.poll(0);
        let before = group.cores[0].status().committed;
        assert_eq!((group.writes[0].len(), commit(&group.writes[0][0])), (1, before));
        group.persist(0);
        group.poll(0);
        assert_eq!(group.cores[0].status().committed, before + 1);
        assert!(group.writes[0].is_empty());
    }
    group.cores[0].tick();
    group.poll(0);
    let rest = &group.writes[0][0];
    assert_eq!((rest.number, rest.sync), (0, false), "nobody waits for it");
    assert_eq!(commit(rest), group.cores[0].status().committed);
    assert!(group.cores[0].take_unwritten().is_none());
}

#[test]
fn the_leader_sends_while_its_disk_writes_and_a_follower_answers_after_its_own() {
    let mut group = Group::led(3);
    let committed = group.cores[0].status().committed;
    group.cores[0].propose(Bytes::from_static(b"x")).unwrap();
    group.poll(0);
    let appends = std::mem::take(&mut group.sent);
    assert_eq!((appends.len(), group.writes[0].len()), (2, 1));
    for append in appends {
        group.cores[append.to() as usize - 1].step(append).unwrap();
    }
    (1..3).for_each(|at| group.poll(at));
    assert!(group.sent.is_empty(), "nothing is promised before it is written");
    (1..3).for_each(|at| group.persist(at));
    (1..3).for_each(|at| group.poll(at));
    assert_eq!(group.sent.len(), 2);
    for answer in std::mem::take(&mut group.sent) {
        group.cores[0].step(answer).unwrap();
    }
    // The two others are a quorum: the leader's own disk is not needed.
    assert_eq!(group.cores[0].status().committed, committed + 1);
    group.settle();
    assert!(group.applied.iter().all(|applied| applied.last().unwrap().data() == b"x"));
}

#[test]
fn a_commit_index_alone_costs_a_follower_no_write_and_no_answer_before_the_tick() {
    let mut group = Group::led(3);
    group.cores[0].propose(Bytes::from_static(b"x")).unwrap();
    group.poll(0);
    group.persist(0);
    for _ in 0..2 {
        // The entry goes out and is promised; what is committed goes out.
        for message in std::mem::take(&mut group.sent) {
            let at = message.to() as usize - 1;
            group.cores[at].step(message).unwrap();
            group.poll(at);
            group.persist(at);
            group.poll(at);
        }
    }
    let committed = group.cores[0].status().committed;
    let news = std::mem::take(&mut group.sent);
    assert!(news.iter().all(|one| one.to() != 1 && one.entries.is_empty()), "{news:?}");
    for message in news {
        group.cores[message.to() as usize - 1].step(message).unwrap();
    }
    for at in 1..3 {
        group.poll(at);
        assert_eq!(group.cores[at].status().committed, committed);
        assert!(group.writes[at].is_empty() && group.sent.is_empty());
        group.cores[at].tick();
        group.poll(at);
        let answers = std::mem::take(&mut group.sent);
        assert_eq!(answers.len(), 1);
        assert_eq!((answers[0].r#type(), answers[0].index()), (MessageType::MsgAppResp, committed));
        assert_eq!(group.writes[at].len(), 1, "now the commit index is written");
    }
}

#[test]
fn a_leader_whose_disk_hangs_makes_room_for_another() {
    let mut group = Group::led(3);
    group.cores[0].propose(Bytes::from_static(b"x")).unwrap();
    for _ in 0..9 {
        group.cores[0].tick();
        group.settle_while_hung(Some(0));
        assert_eq!(group.cores[0].status().role, Role::Leader, "a short wait changes nothing");
    }
    for _ in 0..2 {
        group.cores[0].tick();
        group.settle_while_hung(Some(0));
    }
    let leader = group.cores[0].status().leader;
    assert!(leader > 1 && group.cores[leader as usize - 1].status().role == Role::Leader);
    // It cannot come back while its disk hangs, and is caught up when it does not any more.
    group.cores[leader as usize - 1].propose(Bytes::from_static(b"y")).unwrap();
    group.settle_while_hung(Some(0));
    assert_eq!(group.applied[leader as usize - 1].last().unwrap().data(), b"y");
    group.settle();
    assert_eq!(group.applied[0].last().unwrap().data(), b"y");
}

#[test]
fn it_makes_room_whenever_its_disk_begins_to_hang() {
    // Once in an election timeout, a leader forgets whom it has heard.
    for ticks_before in 0..20 {
        let mut group = Group::led(3);
        for _ in 0..ticks_before {
            group.cores[0].tick();
            group.settle();
        }
        group.cores[0].propose(Bytes::from_static(b"x")).unwrap();
        for _ in 0..12 {
            group.cores[0].tick();
            group.settle_while_hung(Some(0));
        }
        assert_ne!(group.cores[0].status().leader, 1, "after {ticks_before} ticks");
    }
}

#[test]
fn nobody_is_asked_for_a_vote_before_the_own_one_is_written() {
    let mut group = Group::new(3, CatchUp::default());
    group.cores[0].node.campaign();
    let is_vote = |message: &Message| message.r#type() == MessageType::MsgVote;
    let campaign = |group: &mut Group| {
        // The question whether it would be elected binds nobody.
        for message in std::mem::take(&mut group.sent) {
            let to = message.to() as usize - 1;
            group.cores[to].step(message).unwrap();
            group.poll(to);
        }
    };
    group.poll(0);
    campaign(&mut group);
    (0..3).for_each(|at| group.persist(at));
    (0..3).for_each(|at| group.poll(at));
    campaign(&mut group);
    assert_eq!(group.cores[0].status().role, Role::Candidate);
    assert!(!group.sent.iter().any(is_vote));
    group.persist(0);
    group.poll(0);
    assert_eq!(group.sent.iter().filter(|message| is_vote(message)).count(), 2);
    group.settle();
    assert_eq!(group.cores[0].status().role, Role::Leader);
}

fn change(kind: ConfChangeType, id: u64) -> ConfChange {
    ConfChange { r#type: Some(kind as i32), node_id: Some(id), ..ConfChange::default() }
}

#[test]
fn a_member_with_learners_asks_before_it_reads() {
    let mut group = Group::led(1);
    assert!(group.cores[0].status().may_read);
    let applied = group.cores[0].status().applied;
    group.cores[0].applied(applied, &[change(ConfChangeType::ConfChangeAddLearnerNode, 2)]);
    assert!(!group.cores[0].status().may_read);
    group.cores[0].applied(applied, &[change(ConfChangeType::ConfChangeRemoveNode, 2)]);
    assert!(group.cores[0].status().may_read);
}

#[test]
fn a_member_left_alone_reads_when_all_is_applied_that_others_may_have_acknowledged() {
    let mut group = Group::led(2);
    for data in [&b"x"[..], b"y"] {
        group.cores[0].propose(Bytes::from_static(data)).unwrap();
    }
    let mut commands = Vec::new();
    for _ in 0..4 {
        group.cores[0].poll(&mut commands);
        for command in commands.extract_if(.., |one| !matches!(one, Command::Apply(_))) {
            match command {
                Command::Send(messages) => group.sent.extend(messages),
                Command::Persist(persist) => group.cores[0].persisted(persist.number),
                _ => {}
            }
        }
        for message in std::mem::take(&mut group.sent) {
            group.cores[message.to() as usize - 1].step(message).unwrap();
        }
        group.poll(1);
        group.persist(1);
        group.poll(1);
    }
    let status = group.cores[0].status();
    assert!(status.committed >= status.applied + 2 && !commands.is_empty());
    let remove = change(ConfChangeType::ConfChangeRemoveNode, 2);
    group.cores[0].applied(status.applied, &[remove]);
    assert!(!group.cores[0].status().may_read, "the other may have acknowledged the rest");
    group.cores[0].applied(status.committed, &[]);
    assert!(group.cores[0].status().may_read);
}

/// What it acknowledged before a crash may be committed further than it noted.
#[test]
fn the_only_voter_answers_reads_when_an_entry_of_its_term_is_committed() {
    let mut group = Group::new(1, CatchUp::default());
    group.cores[0].node.campaign();
    group.poll(0);
    group.persist(0);
    assert_eq!(group.cores[0].status().role, Role::Leader);
    group.cores[0].read_index(Bytes::from_static(b"early"));
    group.poll(0);
    assert!(group.readable.is_empty());
    group.settle();
    let index = group.cores[0].status().committed;
    assert_eq!(group.readable, [ReadState { index, context: Bytes::from_static(b"early") }]);
}

#[test]
fn reads_proposals_and_leadership_pass_through_followers() {
    let mut group = Group::led(3);
    group.cores[2].propose(Bytes::from_static(b"y")).unwrap();
    group.settle();
    assert_eq!(group.applied[0].last().unwrap().data(), b"y");
    group.cores[1].read_index(Bytes::from_static(b"read"));
    group.settle();
    let index = group.cores[0].status().committed;
    assert_eq!(group.readable, [ReadState { index, context: Bytes::from_static(b"read") }]);
    group.cores[1].transfer_leader(3);
    group.settle();
    assert_eq!(group.cores[2].status().role, Role::Leader);
    assert_eq!(group.cores[0].status().leader, 3);
}

#[test]
fn a_log_that_grew_long_is_shortened_and_who_lags_gets_a_snapshot() {
    let mut group = Group::led(3);
    let data = Bytes::from(vec![0; CatchUp::default().bytes_max / 100]);
    for _ in 0..CatchUp::default().shorten_entries + 1 {
        group.cores[0].propose(data.clone()).unwrap();
        group.poll(0);
        group.persist(0);
        // The third member hears nothing.
        group.poll(0);
        for message in std::mem::take(&mut group.sent) {
            if message.to() == 2 {
                group.cores[1].step(message).unwrap();
            }
        }
        group.poll(1);
        group.persist(1);
        group.poll(1);
        for message in std::mem::take(&mut group.sent) {
            group.cores[0].step(message).unwrap();
        }
    }
    group.settle();
    let storage = group.cores[0].node.storage();
    assert!(raft::Storage::first_index(storage) > CatchUp::default().shorten_entries - 200);
    group.cores[0].tick();
    group.settle();
    assert_eq!(group.cores[2].status().committed, group.cores[0].status().committed);
}

impl Group {
    /// The first member commits so many entries with the second; the third hears nothing.
    fn lead_without_third(&mut self, entries: u64) {
        for _ in 0..entries {
            self.cores[0].propose(Bytes::from_static(b"x")).unwrap();
            for _ in 0..3 {
                for at in 0..2 {
                    self.poll(at);
                    self.persist(at);
                    self.poll(at);
                }
                for message in std::mem::take(&mut self.sent) {
                    if message.to() != 3 {
                        self.cores[message.to() as usize - 1].step(message).unwrap();
                    }
                }
            }
        }
    }

    fn first_index(&self) -> u64 {
        raft::Storage::first_index(self.cores[0].node.storage())
    }

    /// The third member has taken up a snapshot; the first does not know yet whether it was delivered.
    /// What the snapshot covers comes back.
    fn with_snapshot_under_way() -> (Group, u64) {
        let catch_up = CatchUp {
            entries_max: 10,
            shorten_entries: 5,
            held_entries_max: 200,
            held_ticks: 4,
            ..CatchUp::default()
        };
        let mut group = Group::led_with(3, catch_up);
        group.lead_without_third(30);
        assert!(group.first_index() > 10);
        group.cores[0].tick();
        group.settle();
        let index = raft::Storage::first_index(group.cores[2].node.storage()) - 1;
        assert!(index > 10, "a snapshot was sent");
        (group, index)
    }
}

#[test]
fn the_log_is_not_shortened_behind_a_snapshot_that_is_being_sent() {
    let (mut group, index) = Group::with_snapshot_under_way();
    group.lead_without_third(100);
    assert!(group.first_index() <= index + 1);
    group.cores[0].report_snapshot(3, true);
    group.lead_without_third(20);
    assert!(group.first_index() <= index + 1, "the member has time to catch up");
    (0..4).for_each(|_| group.cores[0].tick());
    group.lead_without_third(20);
    assert!(group.first_index() > index + 100);
}

#[test]
fn a_snapshot_that_was_not_delivered_holds_nothing_up() {
    let (mut group, index) = Group::with_snapshot_under_way();
    group.lead_without_third(50);
    group.cores[0].report_snapshot(3, false);
    group.lead_without_third(10);
    assert!(group.first_index() > index + 40);
}

#[test]
fn what_is_kept_for_a_snapshot_is_bounded() {
    let (mut group, index) = Group::with_snapshot_under_way();
    group.lead_without_third(300);
    assert!(group.first_index() > index + 90);
    let storage = group.cores[0].node.storage();
    let kept = raft::Storage::last_index(storage) + 1 - raft::Storage::first_index(storage);
    assert!((200..210).contains(&kept), "{kept} entries are kept");
}

#[test]
fn a_change_waits_for_the_one_before() {
    let mut group = Group::led(3);
    let change = |id: u64, node_id| ConfChange {
        id: Some(id),
        r#type: Some(proto::raftpb::ConfChangeType::ConfChangeUpdateNode as i32),
        node_id: Some(node_id),
        context: None,
    };
    for id in 1..=3 {
        group.cores[0].propose_conf_change(&change(id, 2)).unwrap();
        group.cores[1].propose_conf_change(&change(10 + id, 2)).unwrap();
    }
    group.settle();
    let is_change = |entry: &&Entry| entry.r#type() == proto::raftpb::EntryType::EntryConfChange;
    assert_eq!(group.applied[0].iter().filter(is_change).count(), 6);
}

#[test]
fn changes_before_a_snapshot_do_not_change_the_configuration_that_came_with_it() {
    let mut group = Group::led(3);
    let (term, last) = (group.cores[2].status().term, group.cores[2].status().committed);
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    let metadata = SnapshotMetadata {
        index: Some(last + 5),
        term: Some(term),
        conf_state: Some(conf_state.clone()),
    };
    let message = Message {
        r#type: Some(MessageType::MsgSnap as i32),
        from: Some(1),
        to: Some(3),
        term: Some(term),
        snapshot: Some(Snapshot { data: None, metadata: Some(metadata) }),
        ..Message::default()
    };
    let core = &mut group.cores[2];
    core.step(message).unwrap();
    assert_eq!(core.status().committed, last + 5);
    // The applier was still at work with what was committed before: 4 joined, and has left since.
    let change =
        |kind| ConfChange { r#type: Some(kind as i32), node_id: Some(4), ..ConfChange::default() };
    core.applied(last, &[change(ConfChangeType::ConfChangeAddNode)]);
    assert_eq!(core.conf_state().voters, conf_state.voters);
    group.poll(2);
    group.persist(2);
    group.poll(2);
    let core = &mut group.cores[2];
    core.applied(last + 5, &[]);
    core.applied(last + 6, &[change(ConfChangeType::ConfChangeAddLearnerNode)]);
    assert_eq!(core.conf_state().learners, [4], "what comes after it counts");
}

#[test]
fn a_snapshot_of_what_the_log_has_already_leaves_changes_to_the_entries() {
    let mut group = Group::new(3, CatchUp::default());
    let learner = change(ConfChangeType::ConfChangeAddLearnerNode, 9);
    let entry = Entry {
        index: Some(2),
        term: Some(2),
        r#type: Some(EntryType::EntryConfChange as i32),
        data: Some(learner.encode_to_vec().into()),
    };
    let append = Message {
        r#type: Some(MessageType::MsgApp as i32),
        term: Some(2),
        log_term: Some(1),
        index: Some(1),
        commit: Some(1),
        entries: vec![entry],
        ..message(1, 2)
    };
    group.cores[1].step(append).unwrap();
    // The leader sends a snapshot up to an entry that is here, and not known to be committed.
    let conf_state = ConfState { voters: vec![1, 2, 3], learners: vec![9], ..ConfState::default() };
    let metadata = SnapshotMetadata { index: Some(2), term: Some(2), conf_state: Some(conf_state) };
    let snapshot = Message {
        r#type: Some(MessageType::MsgSnap as i32),
        term: Some(2),
        snapshot: Some(Snapshot { data: None, metadata: Some(metadata) }),
        ..message(1, 2)
    };
    group.cores[1].step(snapshot).unwrap();
    assert_eq!(group.cores[1].status().committed, 2);
    group.cores[1].applied(2, &[learner]);
    assert_eq!(group.cores[1].conf_state().learners, [9]);
}

fn message(from: u64, to: u64) -> Message {
    Message { from: Some(from), to: Some(to), ..Message::default() }
}
