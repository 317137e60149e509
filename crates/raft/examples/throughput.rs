//! How much one in-memory group of three takes: entries per second, and processor time per entry.
//!
//! ```text
//! cargo run --release -p raft --example throughput -- [entries] [bytes of each] [entries at once]
//! ```
//! Each round proposes some entries and lets the group work until all three members have applied
//! them. Disks and networks cost nothing here, so what is measured is the library with its copies.
#![allow(clippy::print_stdout)]

use bytes::Bytes;
use proto::raftpb::{ConfState, HardState, Message, MessageType};
use raft::{Config, MemoryStorage, Node, Role};
use std::time::{Duration, Instant};

struct Member {
    node: Node<MemoryStorage>,
    applied: u64,
}

impl Member {
    fn new(id: u64) -> Member {
        let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
        let storage = MemoryStorage::restored(HardState::default(), conf_state, (0, 0), Vec::new());
        let config = Config { id, seed: id, async_storage_writes: true, ..Config::default() };
        Member { node: Node::new(config, storage).expect("the limits are fine"), applied: 0 }
    }

    /// Does everything that the node asks for; what is to be sent is added to `network`.
    fn work(&mut self, network: &mut Vec<Message>) {
        while self.node.has_ready() {
            for mut message in self.node.ready().messages {
                let responses = std::mem::take(&mut message.responses);
                match message.r#type() {
                    MessageType::MsgStorageAppend => {
                        self.node.storage_mut().append(message.entries);
                    }
                    MessageType::MsgStorageApply => {
                        self.applied += message.entries.len() as u64;
                    }
                    _ => network.push(message),
                }
                for response in responses {
                    if response.to() == self.node.basic_status().id {
                        let _ = self.node.step(response);
                    } else {
                        network.push(response);
                    }
                }
            }
        }
    }

    fn forget(&mut self) {
        let applied = self.node.basic_status().applied;
        // The entry just applied stays for followers that are about to ask for what follows it.
        let _ = self.node.storage_mut().compact(applied.saturating_sub(1));
    }
}

fn settle(members: &mut [Member], network: &mut Vec<Message>) {
    loop {
        members.iter_mut().for_each(|member| member.work(network));
        if network.is_empty() {
            return;
        }
        for message in std::mem::take(network) {
            let to = message.to() as usize - 1;
            let _ = members[to].node.step(message);
        }
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
    let (entries, bytes, at_once) = (argument(1, 2_000_000), argument(2, 256), argument(3, 64));
    let mut members = [Member::new(1), Member::new(2), Member::new(3)];
    let mut network = Vec::new();
    members[0].node.campaign();
    settle(&mut members, &mut network);
    assert_eq!(members[0].node.basic_status().role, Role::Leader);

    let data = Bytes::from(vec![b'x'; bytes as usize]);
    let (begun, cpu_begun) = (Instant::now(), processor_time());
    for _ in 0..entries.div_ceil(at_once) {
        for _ in 0..at_once {
            members[0].node.propose(data.clone()).expect("the leader takes it");
        }
        settle(&mut members, &mut network);
        members.iter_mut().for_each(Member::forget);
    }
    let elapsed = begun.elapsed();
    let applied = members[0].applied;
    assert!(members.iter().all(|member| member.applied == applied));
    println!("{entries} entries of {bytes} bytes, {at_once} at once, three members");
    println!("{:.0} entries per second", applied as f64 / elapsed.as_secs_f64());
    if let (Some(before), Some(after)) = (cpu_begun, processor_time()) {
        let nanos = (after - before).as_nanos() as f64 / applied as f64;
        println!("{nanos:.0} ns of processor time per entry, all three members together");
    }
}
