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

use super::Time;
use std::collections::VecDeque;

/// Reads that may wait at once.
const READS_MAX: usize = 100_000;
/// Rounds that may be under way at once; what comes meanwhile shares the next one. Those that ask
/// again come on top, as many as fit into the time that a read may wait.
const ROUNDS_MAX: usize = 4;
/// How long after the last round another asks for all that are unanswered.
const RETRY: Time = Time::from_millis(500);

struct Waiting<R> {
    deadline: Time,
    read: R,
}

struct Round<R> {
    id: u64,
    asked_at: Time,
    reads: Vec<Waiting<R>>,
}

/// All reads that wait. `R` is what is kept of each.
///
/// Invariants: `count` is the number of reads in all three stages; rounds are in the order in which they
/// were asked, their ids differ, and there are reads in the first.
pub(crate) struct ReadRounds<R> {
    fresh: Vec<Waiting<R>>,
    /// In the order in which they were asked; there are reads in the first.
    rounds: VecDeque<Round<R>>,
    /// The last round was asked long ago.
    is_late: bool,
    confirmed: VecDeque<(u64, Vec<Waiting<R>>)>,
    count: usize,
}

impl<R> Default for ReadRounds<R> {
    fn default() -> ReadRounds<R> {
        ReadRounds {
            fresh: Vec::new(),
            rounds: VecDeque::new(),
            is_late: false,
            confirmed: VecDeque::new(),
            count: 0,
        }
    }
}

impl<R> ReadRounds<R> {
    /// A read came; handed back where too many wait.
    pub(crate) fn push(&mut self, read: R, deadline: Time) -> Result<(), R> {
        if self.count >= READS_MAX {
            return Err(read);
        }
        self.count += 1;
        self.fresh.push(Waiting { deadline, read });
        Ok(())
    }

    /// How many reads wait.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        let in_rounds: usize = self.rounds.iter().map(|round| round.reads.len()).sum();
        let confirmed: usize = self.confirmed.iter().map(|(_, reads)| reads.len()).sum();
        assert_eq!(self.count, self.fresh.len() + in_rounds + confirmed, "every read is counted");
        assert!(self.count <= READS_MAX, "{} reads wait, more than may", self.count);
        let first = self.rounds.front();
        assert!(first.is_none_or(|round| !round.reads.is_empty()), "a round for nobody is kept");
        let mut pairs = self.rounds.iter().zip(self.rounds.iter().skip(1));
        assert!(
            pairs.all(|(one, next)| one.asked_at <= next.asked_at && one.id != next.id),
            "rounds are in the order in which they were asked, and no id is used twice"
        );
    }

    /// Whether a round should be asked now. Without a leader there is one at most, for nobody hears it.
    pub(crate) fn wants_round(&self, has_leader: bool) -> bool {
        let rounds_max = if has_leader { ROUNDS_MAX } else { 1 };
        has_leader && self.is_late || !self.fresh.is_empty() && self.rounds.len() < rounds_max
    }

    /// All that came since the last round are in one of this id now.
    pub(crate) fn begin_round(&mut self, id: u64, now: Time) {
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
    pub(crate) fn served_by(&mut self, applied: u64) -> Vec<R> {
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
    pub(crate) fn tick(&mut self, now: Time) -> Vec<R> {
        let mut expired = Vec::new();
        let groups = std::iter::once(&mut self.fresh)
            .chain(self.rounds.iter_mut().map(|round| &mut round.reads))
            .chain(self.confirmed.iter_mut().map(|(_, reads)| reads));
        for group in groups {
            let over = |waiting: &mut Waiting<R>| waiting.deadline <= now;
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
    pub(crate) fn leader_changed(&mut self) -> Vec<R> {
        self.is_late = false;
        let over = self.rounds.drain(..).flat_map(|round| round.reads);
        let failed: Vec<R> = over.map(|waiting| waiting.read).collect();
        self.count -= failed.len();
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn reads_share_rounds_and_are_served_when_applied() {
        let (mut reads, now) = (ReadRounds::default(), Time::from_secs(1));
        let later = now + Time::from_secs(9);
        reads.push(1, later).unwrap();
        reads.push(2, later).unwrap();
        assert!(reads.wants_round(true));
        reads.begin_round(7, now);
        reads.push(3, later).unwrap();
        reads.begin_round(8, now);
        reads.confirm(6, 1);
        assert!(reads.served_by(99).is_empty(), "no round has this id");
        reads.confirm(7, 5);
        assert!(reads.served_by(4).is_empty());
        assert_eq!(reads.served_by(5), [1, 2]);
        reads.confirm(8, 5);
        assert_eq!((reads.served_by(5).len(), reads.count), (1, 0));
    }

    #[test]
    fn a_round_without_an_answer_is_asked_again_under_another_id() {
        let (mut reads, now) = (ReadRounds::default(), Time::from_secs(1));
        reads.push(1, now + Time::from_secs(9)).unwrap();
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
        let (mut reads, now) = (ReadRounds::default(), Time::from_secs(1));
        let later = now + Time::from_secs(9);
        // One is confirmed, one asked, one has come since.
        reads.push(1, later).unwrap();
        reads.begin_round(1, now);
        reads.confirm(1, 5);
        reads.push(2, later).unwrap();
        reads.begin_round(2, now);
        reads.push(3, later).unwrap();
        assert_eq!(reads.leader_changed(), [2]);
        reads.confirm(2, 1);
        assert_eq!(reads.served_by(5).len(), 1, "a round of another leader confirms nothing");
        assert!(reads.wants_round(true));
        reads.begin_round(3, now);
        reads.confirm(3, 1);
        assert_eq!((reads.served_by(5).len(), reads.count), (1, 0));
        // Without a leader, the first that comes waits for the next one; the others are asked then.
        reads.push(4, later).unwrap();
        assert!(reads.wants_round(false));
        reads.begin_round(4, now);
        reads.push(5, later).unwrap();
        reads.tick(now + RETRY);
        assert!(!reads.wants_round(false));
        assert_eq!(reads.leader_changed(), [4]);
        assert!(reads.wants_round(true));
        assert_eq!((reads.tick(later).len(), reads.count), (1, 0));
    }

    #[test]
    fn answers_that_take_longer_than_a_retry_confirm() {
        let (mut reads, now) = (ReadRounds::default(), Time::from_secs(1));
        let later = now + Time::from_secs(9);
        reads.push(1, later).unwrap();
        reads.begin_round(1, now);
        let mut served = 0;
        // A read comes with each round, and each answer three rounds late.
        for id in 2..20 {
            let now = now + u32::try_from(id).expect("small") * RETRY;
            reads.push(2, later + 20 * RETRY).unwrap();
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
        let (mut reads, now) = (ReadRounds::default(), Time::from_secs(1));
        for id in 0..100 {
            let now = now + u32::try_from(id).expect("small") * RETRY;
            reads.push(1, now + 7 * RETRY).unwrap();
            reads.tick(now);
            assert!(reads.wants_round(true));
            reads.begin_round(id, now);
            assert!(reads.rounds.len() <= 8);
        }
        reads.tick(now + 200 * RETRY);
        assert!(reads.rounds.is_empty() && !reads.wants_round(true) && reads.count == 0);
    }
}
