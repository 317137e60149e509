//! Linearizable reads: confirmed by the cluster in rounds, served when this member has applied
//! what was committed when they came (Raft thesis, section 6.4).
//!
//! ```text
//! asked ------> in a round ------> confirmed at an index ------> served
//!   all that came together share one round; while no answer comes, a new round asks for all before it
//! ```
//! A round that waits while another member comes to lead is over, and its reads are told that the leader
//! changed; what came since it began is in the next one. Without a leader, the first to come are in a
//! round that nobody answers, so they hear of the next leader's election as well (reference:
//! `server/etcdserver/read/read.go`).
//!
//! A round's id is never used twice, or an answer that was late would confirm reads that came after
//! it (etcd #20418). A late answer does confirm its own round and those before it: where a round
//! takes longer than the time until the next one, there are only late ones.

use crate::rpc::Error;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Reads that may wait at once.
const READS_MAX: usize = 100_000;
/// Rounds that may be under way at once; what comes meanwhile shares the next one. Those that ask
/// again come on top, as many as fit into the time that a read may wait.
const ROUNDS_MAX: usize = 4;
/// How long after the last round another asks for all that are unanswered.
const RETRY: Duration = Duration::from_millis(500);

/// What is done once everything acknowledged before is applied here, or why it is not done.
pub(crate) type Read = Box<dyn FnOnce(Result<(), Error>) + Send>;

struct Waiting {
    deadline: Instant,
    read: Read,
}

struct Round {
    id: u64,
    asked_at: Instant,
    reads: Vec<Waiting>,
}

/// All reads that wait.
#[derive(Default)]
pub(crate) struct Reads {
    fresh: Vec<Waiting>,
    /// In the order in which they were asked; there are reads in the first.
    rounds: VecDeque<Round>,
    /// The last round was asked long ago.
    is_late: bool,
    confirmed: VecDeque<(u64, Vec<Waiting>)>,
    count: usize,
}

impl Reads {
    /// A read came.
    pub(crate) fn push(&mut self, read: Read, deadline: Instant) {
        if self.count >= READS_MAX {
            return read(Err(Error::TooManyRequests));
        }
        self.count += 1;
        self.fresh.push(Waiting { deadline, read });
    }

    /// Whether a round should be asked now. Without a leader there is one at most, for nobody hears it.
    pub(crate) fn wants_round(&self, has_leader: bool) -> bool {
        let rounds_max = if has_leader { ROUNDS_MAX } else { 1 };
        has_leader && self.is_late || !self.fresh.is_empty() && self.rounds.len() < rounds_max
    }

    /// All that came since the last round are in one of this id now.
    pub(crate) fn begin_round(&mut self, id: u64, now: Instant) {
        self.is_late = false;
        let reads = std::mem::take(&mut self.fresh);
        self.rounds.push_back(Round { id, asked_at: now, reads });
    }

    /// A round is confirmed: its reads are served once `index` is applied. Rounds asked before it
    /// are as good.
    pub(crate) fn confirm(&mut self, id: u64, index: u64) {
        let Some(place) = self.rounds.iter().position(|round| round.id == id) else { return };
        let reads = self.rounds.drain(..=place).flat_map(|round| round.reads).collect();
        self.forget_empty_rounds();
        self.confirmed.push_back((index, reads));
    }

    /// Whether a confirmed read waits for more to be applied.
    pub(crate) fn awaits_applied(&self) -> bool {
        !self.confirmed.is_empty()
    }

    /// Takes what may be served with this applied.
    pub(crate) fn served_by(&mut self, applied: u64) -> Vec<Read> {
        let mut served = Vec::new();
        self.confirmed.retain_mut(|(index, reads)| {
            if *index > applied {
                return true;
            }
            served.extend(reads.drain(..).map(|waiting| waiting.read));
            false
        });
        self.count -= served.len();
        served
    }

    /// Lets time pass: those whose time is over come back, and another round is wanted if those
    /// under way are not answered.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Read> {
        let mut expired = Vec::new();
        let groups = std::iter::once(&mut self.fresh)
            .chain(self.rounds.iter_mut().map(|round| &mut round.reads))
            .chain(self.confirmed.iter_mut().map(|(_, reads)| reads));
        for group in groups {
            let over = |waiting: &mut Waiting| waiting.deadline <= now;
            expired.extend(group.extract_if(.., over).map(|waiting| waiting.read));
        }
        self.count -= expired.len();
        self.forget_empty_rounds();
        self.is_late = self.rounds.back().is_some_and(|round| now >= round.asked_at + RETRY);
        expired
    }

    /// Nobody waits for a round without reads, unless there are some in one before it.
    fn forget_empty_rounds(&mut self) {
        while self.rounds.pop_front_if(|round| round.reads.is_empty()).is_some() {}
        self.is_late &= !self.rounds.is_empty();
    }

    /// Another member leads: gives the reads of all rounds that are not confirmed.
    pub(crate) fn leader_changed(&mut self) -> Vec<Read> {
        self.is_late = false;
        let over = self.rounds.drain(..).flat_map(|round| round.reads);
        let failed: Vec<Read> = over.map(|waiting| waiting.read).collect();
        self.count -= failed.len();
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn read(sent: &mpsc::Sender<(u8, Result<(), Error>)>, name: u8) -> Read {
        let sent = sent.clone();
        Box::new(move |result| sent.send((name, result)).expect("the test listens"))
    }

    #[test]
    fn reads_share_rounds_and_are_served_when_applied() {
        let (sent, served) = mpsc::channel();
        let (mut reads, now) = (Reads::default(), Instant::now());
        let later = now + Duration::from_secs(9);
        reads.push(read(&sent, 1), later);
        reads.push(read(&sent, 2), later);
        assert!(reads.wants_round(true));
        reads.begin_round(7, now);
        reads.push(read(&sent, 3), later);
        reads.begin_round(8, now);
        reads.confirm(6, 1);
        assert!(reads.served_by(99).is_empty(), "no round has this id");
        reads.confirm(7, 5);
        assert!(reads.served_by(4).is_empty());
        reads.served_by(5).into_iter().for_each(|read| read(Ok(())));
        assert_eq!(served.try_iter().collect::<Vec<_>>(), [(1, Ok(())), (2, Ok(()))]);
        reads.confirm(8, 5);
        assert_eq!((reads.served_by(5).len(), reads.count), (1, 0));
    }

    #[test]
    fn a_round_without_an_answer_is_asked_again_under_another_id() {
        let (sent, _served) = mpsc::channel();
        let (mut reads, now) = (Reads::default(), Instant::now());
        reads.push(read(&sent, 1), now + Duration::from_secs(9));
        reads.begin_round(7, now);
        assert!(reads.tick(now + RETRY).is_empty() && reads.wants_round(true));
        reads.begin_round(8, now + RETRY);
        assert!(!reads.wants_round(true));
        reads.confirm(8, 1);
        assert_eq!(reads.served_by(9).len(), 1, "a later round is as good");
        assert_eq!(reads.count, 0);
    }

    #[test]
    fn a_read_that_waits_over_a_change_of_the_leader_is_told() {
        let (sent, served) = mpsc::channel();
        let (mut reads, now) = (Reads::default(), Instant::now());
        let later = now + Duration::from_secs(9);
        let fail = |failed: Vec<Read>| {
            failed.into_iter().for_each(|read| read(Err(Error::LeaderChanged)));
        };
        // One is confirmed, one asked, one has come since.
        reads.push(read(&sent, 1), later);
        reads.begin_round(1, now);
        reads.confirm(1, 5);
        reads.push(read(&sent, 2), later);
        reads.begin_round(2, now);
        reads.push(read(&sent, 3), later);
        fail(reads.leader_changed());
        assert_eq!(served.try_iter().collect::<Vec<_>>(), [(2, Err(Error::LeaderChanged))]);
        reads.confirm(2, 1);
        assert_eq!(reads.served_by(5).len(), 1, "a round of another leader confirms nothing");
        assert!(reads.wants_round(true));
        reads.begin_round(3, now);
        reads.confirm(3, 1);
        assert_eq!((reads.served_by(5).len(), reads.count), (1, 0));
        // Without a leader, the first that comes waits for the next one; the others are asked then.
        reads.push(read(&sent, 4), later);
        assert!(reads.wants_round(false));
        reads.begin_round(4, now);
        reads.push(read(&sent, 5), later);
        reads.tick(now + RETRY);
        assert!(!reads.wants_round(false));
        fail(reads.leader_changed());
        assert_eq!(served.try_iter().collect::<Vec<_>>(), [(4, Err(Error::LeaderChanged))]);
        assert!(reads.wants_round(true));
        assert_eq!((reads.tick(later).len(), reads.count), (1, 0));
    }

    #[test]
    fn answers_that_take_longer_than_a_retry_confirm() {
        let (sent, _served) = mpsc::channel();
        let (mut reads, now) = (Reads::default(), Instant::now());
        let later = now + Duration::from_secs(9);
        reads.push(read(&sent, 1), later);
        reads.begin_round(1, now);
        let mut served = 0;
        // A read comes with each round, and each answer three rounds late.
        for id in 2..20 {
            let now = now + u32::try_from(id).expect("small") * RETRY;
            reads.push(read(&sent, 2), later + 20 * RETRY);
            reads.tick(now);
            assert!(reads.wants_round(true));
            reads.begin_round(id, now);
            assert!(!reads.wants_round(true));
            reads.confirm(id.saturating_sub(3), 1);
            served += reads.served_by(1).len();
        }
        assert_eq!((served, reads.count), (16, 3));
    }

    #[test]
    fn rounds_that_are_never_answered_do_not_pile_up() {
        let (sent, _served) = mpsc::channel();
        let (mut reads, now) = (Reads::default(), Instant::now());
        for id in 0..100 {
            let now = now + u32::try_from(id).expect("small") * RETRY;
            reads.push(read(&sent, 1), now + 7 * RETRY);
            reads.tick(now);
            assert!(reads.wants_round(true));
            reads.begin_round(id, now);
            assert!(reads.rounds.len() <= 8);
        }
        reads.tick(now + 200 * RETRY);
        assert!(reads.rounds.is_empty() && !reads.wants_round(true) && reads.count == 0);
    }
}
