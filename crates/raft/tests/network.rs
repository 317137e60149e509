//! Clusters on a network that loses, doubles and reorders, whose members crash with whatever their
//! disks had not written: nobody ever sees two leaders of a term, two entries in one place, a
//! committed entry lost, or a read behind what was acknowledged before it.

#![allow(clippy::unwrap_used)] // the helpers of tests too

#[path = "network/cluster.rs"]
mod cluster;

use cluster::{Cluster, Weather};

const STEPS: usize = 1500;

/// Chaos, then calm: the cluster must be safe all the time and work again in the end.
fn survives(members: u64, seeds: std::ops::Range<u64>, weather: Weather) {
    for seed in seeds {
        let mut cluster = Cluster::new(members, seed, weather);
        for _ in 0..STEPS {
            cluster.step();
        }
        cluster.calm();
        cluster.check();
    }
}

const ROUGH: Weather = Weather { loss: 10, crashes: 6, changes: 0, snapshots: 20, pre_vote: false };

#[test]
fn three_members_agree_through_loss_and_crashes() {
    survives(3, 0..20, ROUGH);
}

#[test]
fn five_members_agree_through_loss_and_crashes() {
    survives(5, 100..112, ROUGH);
}

#[test]
fn members_agree_with_pre_vote_and_check_quorum() {
    survives(3, 200..215, Weather { pre_vote: true, ..ROUGH });
}

#[test]
fn members_agree_while_members_come_and_go() {
    survives(5, 300..315, Weather { pre_vote: true, changes: 8, ..ROUGH });
}

#[test]
fn one_member_agrees_with_itself() {
    survives(1, 400..405, ROUGH);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let run = || {
        let mut cluster = Cluster::new(3, 7, ROUGH);
        (0..STEPS).for_each(|_| cluster.step());
        cluster.history()
    };
    assert_eq!(run(), run());
}
