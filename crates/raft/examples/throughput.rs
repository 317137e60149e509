//! How much one group in memory takes: entries per second, and processor time per entry.
//!
//! ```text
//! cargo run --release -p raft --example throughput -- [entries] [bytes] [at once] [members] [turns|async]
//! ```
//! Each round proposes some entries, one by one, and lets the group work until all members have
//! applied them. Disks and networks cost nothing here, so what is measured is the library with its
//! copies. `bench/raft` does the same with the reference's library, step for step, so that both
//! deliver the same messages; whoever changes one of them changes the other.
#![allow(clippy::print_stdout)]

use bytes::Bytes;
use proto::raftpb::{ConfState, HardState, Message, MessageType};
use raft::{Config, MemoryStorage, Node, Ready, Role};
use std::time::{Duration, Instant};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The log is shortened after so many entries, to so many (the reference's server's defaults).
const ENTRIES_MAX: u64 = 10_000;
const ENTRIES_KEPT: u64 = 5_000;

struct Member {
    node: Node<MemoryStorage>,
    id: u64,
    /// How many entries it has applied, and the index of the last.
    applied: (u64, u64),
    compacted: u64,
}

impl Member {
    fn new(id: u64, members: u64, async_storage_writes: bool) -> Member {
        let conf_state = ConfState { voters: (1..=members).collect(), ..ConfState::default() };
        // The configuration, at an index that no entry has.
        let storage = MemoryStorage::restored(HardState::default(), conf_state, (1, 1), Vec::new());
        let config = Config { id, seed: id, async_storage_writes, ..Config::default() };
        let node = Node::new(config, storage).expect("the limits are fine");
        Member { node, id, applied: (0, 1), compacted: 1 }
    }

    /// Does everything that the node asks for; what is to be sent is added to `network`.
    fn work(&mut self, network: &mut Vec<Message>, async_storage_writes: bool) {
        while self.node.has_ready() {
            let ready = self.node.ready();
            if async_storage_writes {
                self.follow_messages(ready, network);
            } else {
                self.follow_in_turn(ready, network);
            }
        }
    }

    fn follow_in_turn(&mut self, ready: Ready, network: &mut Vec<Message>) {
        if let Some(state) = ready.hard_state {
            self.node.storage_mut().set_hard_state(state);
        }
        self.node.storage_mut().append(ready.entries);
        network.extend(ready.messages);
        self.apply(ready.committed.len(), ready.committed.last().map(|entry| entry.index()));
        self.node.advance();
    }

    fn follow_messages(&mut self, ready: Ready, network: &mut Vec<Message>) {
        if let Some(state) = ready.hard_state {
            self.node.storage_mut().set_hard_state(state);
        }
        for mut message in ready.messages {
            let responses = std::mem::take(&mut message.responses);
            match message.r#type() {
                MessageType::MsgStorageAppend => self.node.storage_mut().append(message.entries),
                MessageType::MsgStorageApply => {
                    let last = message.entries.last().map(|entry| entry.index());
                    self.apply(message.entries.len(), last);
                }
                _ => network.push(message),
            }
            for response in responses {
                if response.to() == self.id {
                    let _ = self.node.step(response);
                } else {
                    network.push(response);
                }
            }
        }
    }

    fn apply(&mut self, count: usize, last: Option<u64>) {
        self.applied = (self.applied.0 + count as u64, last.unwrap_or(self.applied.1));
    }

    fn forget(&mut self) {
        if self.applied.1 - self.compacted > ENTRIES_MAX {
            self.compacted = self.applied.1 - ENTRIES_KEPT;
            self.node.storage_mut().compact(self.compacted).expect("it is applied");
        }
    }
}

struct Group {
    members: Vec<Member>,
    network: Vec<Message>,
    async_storage_writes: bool,
    /// How many messages went from member to member.
    delivered: u64,
}

impl Group {
    fn settle(&mut self) {
        loop {
            for member in &mut self.members {
                member.work(&mut self.network, self.async_storage_writes);
            }
            if self.network.is_empty() {
                return;
            }
            self.delivered += self.network.len() as u64;
            for message in std::mem::take(&mut self.network) {
                let to = message.to() as usize - 1;
                let _ = self.members[to].node.step(message);
            }
        }
    }

    fn elect(&mut self) {
        self.members[0].node.campaign();
        self.settle();
        assert_eq!(self.members[0].node.basic_status().role, Role::Leader);
    }

    fn round(&mut self, data: &Bytes, at_once: u64) {
        for _ in 0..at_once {
            self.members[0].node.propose(data.clone()).expect("the leader takes it");
        }
        self.settle();
        self.members.iter_mut().for_each(Member::forget);
    }
}

fn argument(place: usize, default: u64) -> u64 {
    std::env::args().nth(place).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Processor time of this process so far, in ticks of a hundredth of a second on Linux.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

fn main() {
    let (entries, bytes) = (argument(1, 2_000_000), argument(2, 256));
    let (at_once, voters) = (argument(3, 64), argument(4, 3));
    let async_storage_writes = std::env::args().nth(5).as_deref() == Some("async");
    let members = (1..=voters).map(|id| Member::new(id, voters, async_storage_writes)).collect();
    let mut group = Group { members, network: Vec::new(), async_storage_writes, delivered: 0 };
    group.elect();

    let data = Bytes::from(vec![b'x'; bytes as usize]);
    let rounds = entries.div_ceil(at_once);
    let (begun, cpu_begun) = (Instant::now(), processor_time());
    (0..rounds).for_each(|_| group.round(&data, at_once));
    let (elapsed, cpu) = (begun.elapsed(), processor_time());
    // One more entry, which the leader began its term with; one index more for the configuration.
    let expected = (rounds * at_once + 1, rounds * at_once + 2);
    assert!(group.members.iter().all(|member| member.applied == expected));
    println!("{voters} members, entries of {bytes} bytes, {at_once} at once");
    println!("entries {}", rounds * at_once);
    println!("messages {}", group.delivered);
    println!("seconds {:.3}", elapsed.as_secs_f64());
    if let (Some(before), Some(after)) = (cpu_begun, cpu) {
        println!("processor {:.3}", (after - before).as_secs_f64());
    }
}
