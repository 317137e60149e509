//! The lessor.

use backend::{ApplyTxn, Table, View};
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::LeaseCheckpoint;
use proto::leasepb;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

/// No lease lives longer than this, in seconds.
pub const TTL_MAX_S: i64 = 9_000_000_000;
/// After a promotion, expiries are spread so that no more than this many come in a second.
const EXPIRIES_PER_S: u64 = 750;
/// Fewer leases than this are not spread.
const SPREAD_FROM: usize = 1000;
/// How often etcd notes the remaining time of leases that have more time left than this.
pub const CHECKPOINT_MS: u64 = 5 * 60 * 1000;

/// How leases are kept.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Shorter leases are made this long, in seconds.
    pub ttl_min_s: i64,
    /// The leader notes in the log how much time long leases have left (etcd's feature
    /// `LeaseCheckpoint`), so that its successor does not give them their full time again.
    pub checkpoints: bool,
    /// Remaining times in checkpoints are stored.
    pub persist_checkpoints: bool,
    /// Leases with more time left than this are noted this often, in milliseconds.
    pub checkpoint_interval_ms: u64,
}

/// Why a lease request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such lease, or it has expired.
    NotFound,
    /// There is one of this id already.
    Exists,
    /// It would live longer than [`TTL_MAX_S`].
    TtlTooLarge,
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its time to live in seconds, raised to the minimum.
    pub ttl: i64,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease has its full time again, in seconds.
    Done {
        /// As granted.
        ttl_s: i64,
    },
    /// The lease has its full time again here, but a checkpoint says less: another leader would
    /// let it expire early. Put a checkpoint of 0 through the log, then renew again.
    AfterCheckpoint,
}

/// What is known of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeToLive {
    /// As granted, in seconds.
    pub granted_s: i64,
    /// What is left, in seconds that are left whole: right after a grant that is one less than was
    /// granted. 0 or less where it expired and is not revoked yet.
    pub remaining_s: i64,
    /// The keys attached, in order.
    pub keys: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct Lease {
    ttl_s: i64,
    /// From a checkpoint; 0 where there was none.
    remaining_s: i64,
    /// When it expires; `None` on members that do not lead.
    expires_ms: Option<u64>,
    /// When its remaining time is to be noted.
    checkpoint_ms: Option<u64>,
    keys: BTreeSet<Bytes>,
}

impl Lease {
    /// What it has left where nothing but the log is known.
    fn left_ms(&self) -> u64 {
        let left_s = if self.remaining_s > 0 { self.remaining_s } else { self.ttl_s };
        left_s.clamp(0, TTL_MAX_S) as u64 * 1000
    }
}

/// All leases.
///
/// Always true, and asserted by [`Lessor::check`]:
/// 1. `attached` maps exactly the keys in the leases' sets, each to the lease that has it; so no key
///    belongs to two leases.
/// 2. Every time to live is between the minimum and [`TTL_MAX_S`].
/// 3. On a primary every lease has a time at which it expires, on others none has.
/// 4. `expiries` holds exactly those times, each lease once.
/// 5. `checkpoints` holds exactly the times at which leases are to be noted, each lease once, and
///    none where the feature is off or the lease does not expire.
#[derive(Debug)]
pub struct Lessor {
    config: Config,
    leases: HashMap<i64, Lease>,
    attached: HashMap<Bytes, i64>,
    expiries: BTreeSet<(u64, i64)>,
    checkpoints: BTreeSet<(u64, i64)>,
    is_primary: bool,
    now_ms: u64,
}

impl Lessor {
    /// Reads the leases of a database; times that no lease may have are cut. Keys are attached by [`Lessor::restore_attachment`].
    pub fn open(view: &View, config: Config) -> Lessor {
        let ttl_min_s = config.ttl_min_s;
        assert!((1..=TTL_MAX_S).contains(&ttl_min_s), "a minimum of {ttl_min_s} s is no time");
        let mut lessor = Lessor {
            config,
            leases: HashMap::new(),
            attached: HashMap::new(),
            expiries: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            is_primary: false,
            now_ms: 0,
        };
        view.range(Table::Lease, &[], &[], usize::MAX, |_, value| {
            if let Ok(stored) = leasepb::Lease::decode(value) {
                let lease = Lease {
                    ttl_s: stored.ttl.clamp(config.ttl_min_s, TTL_MAX_S),
                    remaining_s: stored.remaining_ttl,
                    ..Lease::default()
                };
                lessor.leases.insert(stored.id, lease);
            }
            ControlFlow::Continue(())
        });
        lessor
    }

    /// Attaches a key found in the store. A lease that is gone is ignored.
    pub fn restore_attachment(&mut self, key: Bytes, id: i64) {
        self.attach(&key, id);
    }

    /// Whether there is such a lease.
    pub fn exists(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Grants a lease.
    ///
    /// # Errors
    /// An id of 0 or in use, too long a time.
    pub fn grant(
        &mut self,
        txn: &mut ApplyTxn<'_>,
        id: i64,
        ttl_s: i64,
    ) -> Result<Granted, Refusal> {
        if id == 0 {
            return Err(Refusal::NotFound);
        }
        if ttl_s > TTL_MAX_S {
            return Err(Refusal::TtlTooLarge);
        }
        if self.exists(id) {
            return Err(Refusal::Exists);
        }
        let ttl_s = ttl_s.max(self.config.ttl_min_s);
        store(txn, id, ttl_s, 0);
        let before = self.leases.insert(id, Lease { ttl_s, ..Lease::default() });
        assert!(before.is_none(), "lease {id} is granted twice");
        if self.is_primary {
            self.set_expiry(id, self.now_ms + ttl_s as u64 * 1000);
        }
        Ok(Granted { ttl: ttl_s })
    }

    /// Removes a lease; gives the keys that were attached to it, in order, to be deleted.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn revoke(&mut self, txn: &mut ApplyTxn<'_>, id: i64) -> Result<Vec<Bytes>, Refusal> {
        let lease = self.leases.remove(&id).ok_or(Refusal::NotFound)?;
        if let Some(at) = lease.expires_ms {
            let was_there = self.expiries.remove(&(at, id));
            assert!(was_there, "lease {id} expires at {at} ms and is not among the expiries");
        }
        if let Some(at) = lease.checkpoint_ms {
            let was_there = self.checkpoints.remove(&(at, id));
            assert!(was_there, "lease {id} is to be noted at {at} ms and is not in the list");
        }
        txn.delete(Table::Lease, &id.to_be_bytes());
        for key in &lease.keys {
            let holder = self.attached.remove(key);
            assert_eq!(holder, Some(id), "a key of lease {id} is attached to another: {key:?}");
        }
        Ok(lease.keys.into_iter().collect())
    }

    /// Notes how much time leases have left, so that a new leader does not start over. Leases that
    /// are gone are passed over.
    pub fn checkpoint(&mut self, txn: &mut ApplyTxn<'_>, checkpoints: &[LeaseCheckpoint]) {
        for checkpoint in checkpoints {
            let Some(lease) = self.leases.get_mut(&checkpoint.id) else { continue };
            lease.remaining_s = checkpoint.remaining_ttl;
            if self.config.persist_checkpoints {
                store(txn, checkpoint.id, lease.ttl_s, lease.remaining_s);
            }
        }
    }

    /// Attaches a key to a lease and takes it from the one it had; 0 takes it from any.
    pub fn attach(&mut self, key: &Bytes, id: i64) {
        // Most keys have no lease and get none.
        if id == 0 && self.attached.is_empty() {
            return;
        }
        if self.attached.get(key) == Some(&id) {
            return;
        }
        self.detach(key);
        // A database of another program may hold a lease 0, to which no key belongs all the same.
        if let Some(lease) = self.leases.get_mut(&id).filter(|_| id != 0) {
            // A copy: the request's bytes would keep its whole log entry in memory.
            let key = Bytes::copy_from_slice(key);
            lease.keys.insert(key.clone());
            let before = self.attached.insert(key, id);
            assert!(before.is_none(), "a key of lease {id} is still attached to {before:?}");
        }
    }

    /// Takes a key from its lease.
    pub fn detach(&mut self, key: &Bytes) {
        let Some(id) = self.attached.remove(key) else { return };
        let had_it = self.leases.get_mut(&id).is_some_and(|lease| lease.keys.remove(key));
        assert!(had_it, "lease {id} does not know its key {key:?}");
    }

    /// The lease a key is attached to.
    pub fn lease_of(&self, key: &[u8]) -> Option<i64> {
        self.attached.get(key).copied()
    }

    /// Begins to let leases expire: each gets its full time, or what a checkpoint left it, and
    /// `extend_ms` more.
    pub fn promote(&mut self, now_ms: u64, extend_ms: u64) {
        self.is_primary = true;
        self.now_ms = now_ms;
        let ids: Vec<i64> = self.leases.keys().copied().collect();
        for id in ids {
            let left_ms = self.leases[&id].left_ms();
            self.set_expiry(id, now_ms + left_ms + extend_ms);
        }
        if self.leases.len() >= SPREAD_FROM {
            self.spread();
        }
    }

    /// Moves expiries so that no second has more than [`EXPIRIES_PER_S`].
    fn spread(&mut self) {
        let mut next = 0;
        let in_order: Vec<(u64, i64)> = self.expiries.iter().copied().collect();
        for (n, (at, id)) in in_order.into_iter().enumerate() {
            let at = if n == 0 { at * EXPIRIES_PER_S } else { next.max(at * EXPIRIES_PER_S) };
            // In units of 1/750 ms, so that steps of 1000/750 ms are exact.
            next = at + 1000;
            self.set_expiry(id, at / EXPIRIES_PER_S);
        }
    }

    /// Stops letting leases expire.
    pub fn demote(&mut self) {
        self.is_primary = false;
        self.expiries.clear();
        self.checkpoints.clear();
        for lease in self.leases.values_mut() {
            lease.expires_ms = None;
            lease.checkpoint_ms = None;
        }
    }

    /// Whether leases expire here.
    pub fn is_primary(&self) -> bool {
        self.is_primary
    }

    fn set_expiry(&mut self, id: i64, at_ms: u64) {
        assert!(self.is_primary, "lease {id} gets a time where leases do not expire");
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        if let Some(before) = lease.expires_ms.replace(at_ms) {
            let was_there = self.expiries.remove(&(before, id));
            assert!(was_there, "lease {id} expired at {before} ms and was not in the list");
        }
        self.expiries.insert((at_ms, id));
        self.schedule_checkpoint(id);
    }

    /// Has a lease noted later, if that is not planned yet and it has enough time left.
    fn schedule_checkpoint(&mut self, id: i64) {
        let at_ms = self.now_ms + self.config.checkpoint_interval_ms;
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let is_long = lease.expires_ms.is_some_and(|expires_ms| expires_ms > at_ms);
        if self.config.checkpoints && is_long && lease.checkpoint_ms.is_none() {
            lease.checkpoint_ms = Some(at_ms);
            self.checkpoints.insert((at_ms, id));
        }
    }

    /// Lets time pass; leases granted from now on count from here.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Gives a lease its full time again. Only a primary is asked: elsewhere leases have no time.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], also where it has expired and only waits to be revoked.
    pub fn renew(&mut self, id: i64, now_ms: u64) -> Result<Renewal, Refusal> {
        self.now_ms = now_ms;
        let lease = self.leases.get_mut(&id).ok_or(Refusal::NotFound)?;
        if lease.expires_ms.is_some_and(|at| at <= now_ms) {
            return Err(Refusal::NotFound);
        }
        let (ttl_s, has_checkpoint) = (lease.ttl_s, lease.remaining_s > 0);
        self.set_expiry(id, now_ms + ttl_s as u64 * 1000);
        Ok(if has_checkpoint { Renewal::AfterCheckpoint } else { Renewal::Done { ttl_s } })
    }

    /// What is known of a lease.
    pub fn time_to_live(&self, id: i64, now_ms: u64, with_keys: bool) -> Option<TimeToLive> {
        let lease = self.leases.get(&id)?;
        let remaining_s = match lease.expires_ms {
            Some(at) => whole_seconds(at as i64 - now_ms as i64),
            None => lease.ttl_s,
        };
        let keys = if with_keys { lease.keys.iter().cloned().collect() } else { Vec::new() };
        Some(TimeToLive { granted_s: lease.ttl_s, remaining_s, keys })
    }

    /// Every lease, the one that expires first in front.
    pub fn leases(&self) -> Vec<i64> {
        let mut ids: Vec<(Option<u64>, i64)> =
            self.leases.iter().map(|(id, lease)| (lease.expires_ms, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// At most `max` leases whose time is over. They stay until they are revoked; asked again
    /// before that, they come again.
    pub fn expired(&self, now_ms: u64, max: usize) -> Vec<i64> {
        let over = self.expiries.range(..=(now_ms, i64::MAX));
        over.take(max).map(|(_, id)| *id).collect()
    }

    /// Asserts what is always true of [`Lessor`].
    pub fn check(&self) {
        let (mut keys, mut expiring, mut noted) = (0, 0, 0);
        for (&id, lease) in &self.leases {
            for key in &lease.keys {
                let holder = self.attached.get(key);
                assert_eq!(holder, Some(&id), "whose key of lease {id} is {key:?}?");
            }
            keys += lease.keys.len();
            let (ttl_s, min_s) = (lease.ttl_s, self.config.ttl_min_s);
            assert!((min_s..=TTL_MAX_S).contains(&ttl_s), "lease {id} lives for {ttl_s} s");
            assert_eq!(lease.expires_ms.is_some(), self.is_primary, "does lease {id} expire here?");
            if let Some(at) = lease.expires_ms {
                assert!(self.expiries.contains(&(at, id)), "lease {id} at {at} ms is forgotten");
                expiring += 1;
            }
            if let Some(at) = lease.checkpoint_ms {
                let is_listed = self.checkpoints.contains(&(at, id));
                assert!(is_listed, "the note of lease {id} at {at} ms is forgotten");
                let is_wanted = self.config.checkpoints && self.is_primary;
                assert!(is_wanted, "lease {id} is to be noted at {at} ms, and nobody notes");
                noted += 1;
            }
        }
        assert_eq!(self.attached.len(), keys, "keys are attached to leases that are gone");
        assert_eq!(self.expiries.len(), expiring, "leases expire twice, or after they are gone");
        assert_eq!(self.checkpoints.len(), noted, "leases are noted twice, or after they are gone");
    }

    /// At most `max` leases whose remaining time should be noted in the log now. Each is due again
    /// later, whatever becomes of this note.
    pub fn due_checkpoints(&mut self, now_ms: u64, max: usize) -> Vec<LeaseCheckpoint> {
        self.now_ms = self.now_ms.max(now_ms);
        let mut due = Vec::new();
        while due.len() < max
            && let Some((at_ms, id)) = self.checkpoints.first().copied()
            && at_ms <= now_ms
        {
            self.checkpoints.remove(&(at_ms, id));
            due.extend(self.checkpoint_of(id, now_ms));
            assert!(self.leases.contains_key(&id), "lease {id} is gone and was to be noted");
            self.schedule_checkpoint(id);
        }
        due
    }

    /// A note of a lease's remaining time, in seconds rounded up; none where it has just been
    /// renewed or has expired.
    fn checkpoint_of(&mut self, id: i64, now_ms: u64) -> Option<LeaseCheckpoint> {
        let lease = self.leases.get_mut(&id)?;
        lease.checkpoint_ms = None;
        let left_ms = lease.expires_ms?.checked_sub(now_ms)?;
        let remaining_ttl = left_ms.div_ceil(1000) as i64;
        (0 < remaining_ttl && remaining_ttl < lease.ttl_s)
            .then_some(LeaseCheckpoint { id, remaining_ttl })
    }
}

/// Seconds that are certainly left. Both times are cut to milliseconds, so that a difference may be
/// nearly one too long; and a time that has begun to run is never whole.
fn whole_seconds(left_ms: i64) -> i64 {
    (if left_ms > 0 { left_ms - 1 } else { left_ms }) / 1000
}

fn store(txn: &mut ApplyTxn<'_>, id: i64, ttl: i64, remaining_ttl: i64) {
    let stored = leasepb::Lease { id, ttl, remaining_ttl };
    txn.put(Table::Lease, &id.to_be_bytes(), stored.encode_to_vec().into());
}
