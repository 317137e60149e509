//! What a member shows of itself to every thread: figures, each written by the turn that owns it.
//!
//! A turn does not write them while it runs: it gives [`CoreFigures`] and the like among its effects, so
//! that they change in order with everything else that becomes visible.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// What the core turn shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreFigures {
    /// The term.
    pub term: u64,
    /// Who leads, 0 for nobody.
    pub leader: u64,
    /// The last committed entry.
    pub committed: u64,
    /// Whether this member leads.
    pub leads: bool,
    /// Whether what is applied here is all that was ever acknowledged, so that reads need not ask anyone.
    pub may_read: bool,
}

/// What the apply turn shows of what is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppliedFigures {
    /// The last applied entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// What the apply turn shows of its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateFigures {
    /// Whether the alarm of a full database is raised, by any member.
    pub no_space: bool,
    /// Whether the alarm of a corrupt member is raised.
    pub corrupt: bool,
    /// Leases.
    pub leases: u64,
}

/// What the database file takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeFigures {
    /// The file.
    pub total: u64,
    /// Of it, what is in use.
    pub in_use: u64,
}

/// What the watch turn shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchFigures {
    /// Watchers.
    pub watchers: usize,
    /// Of them, those that catch up.
    pub slow_watchers: usize,
    /// Streams.
    pub streams: usize,
    /// Events handed to streams since the start.
    pub events_sent: u64,
}

/// All figures.
#[derive(Debug, Default)]
pub struct Figures {
    term: AtomicU64,
    leader: AtomicU64,
    committed: AtomicU64,
    leads: AtomicBool,
    may_read: AtomicBool,
    applied: AtomicU64,
    applied_term: AtomicU64,
    no_space: AtomicBool,
    corrupt: AtomicBool,
    leases: AtomicU64,
    db_size: AtomicU64,
    db_size_in_use: AtomicU64,
    watchers: AtomicI64,
    slow_watchers: AtomicI64,
    streams: AtomicI64,
}

impl Figures {
    /// The core's figures are these now.
    pub fn show_core(&self, figures: &CoreFigures) {
        self.term.store(figures.term, Ordering::Release);
        self.leader.store(figures.leader, Ordering::Relaxed);
        self.committed.store(figures.committed, Ordering::Release);
        self.leads.store(figures.leads, Ordering::Release);
        self.may_read.store(figures.may_read, Ordering::Release);
    }

    /// So much is applied now. What a read that waits for this index looks at must be there before.
    pub fn show_applied(&self, figures: AppliedFigures) {
        self.applied.store(figures.index, Ordering::SeqCst);
        self.applied_term.store(figures.term, Ordering::Relaxed);
    }

    /// The state's figures are these now.
    pub fn show_state(&self, figures: StateFigures) {
        self.no_space.store(figures.no_space, Ordering::Relaxed);
        self.corrupt.store(figures.corrupt, Ordering::Relaxed);
        self.leases.store(figures.leases, Ordering::Relaxed);
    }

    /// The database file takes this now.
    pub fn show_sizes(&self, figures: SizeFigures) {
        self.db_size.store(figures.total, Ordering::Relaxed);
        self.db_size_in_use.store(figures.in_use, Ordering::Relaxed);
    }

    /// The watch turn's figures are these now.
    pub fn show_watch(&self, figures: &WatchFigures) {
        self.watchers.store(figures.watchers as i64, Ordering::Relaxed);
        self.slow_watchers.store(figures.slow_watchers as i64, Ordering::Relaxed);
        self.streams.store(figures.streams as i64, Ordering::Relaxed);
    }

    /// The term.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }

    /// Who leads, 0 for nobody.
    pub fn leader(&self) -> u64 {
        self.leader.load(Ordering::Relaxed)
    }

    /// The last entry that this member knows to be committed.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Whether this member leads.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    /// Whether a linearizable read may be answered from what is applied here.
    pub fn may_read(&self) -> bool {
        self.may_read.load(Ordering::Acquire)
    }

    /// The last applied entry.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// The term of the last applied entry.
    pub fn applied_term(&self) -> u64 {
        self.applied_term.load(Ordering::Relaxed)
    }

    /// Whether the alarm of a full database is raised.
    pub fn no_space(&self) -> bool {
        self.no_space.load(Ordering::Relaxed)
    }

    /// Whether the alarm of a corrupt member is raised.
    pub fn corrupt(&self) -> bool {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// Leases.
    pub fn leases(&self) -> u64 {
        self.leases.load(Ordering::Relaxed)
    }

    /// Bytes of the database file.
    pub fn db_size(&self) -> u64 {
        self.db_size.load(Ordering::Relaxed)
    }

    /// Bytes of it that are in use.
    pub fn db_size_in_use(&self) -> u64 {
        self.db_size_in_use.load(Ordering::Relaxed)
    }

    /// Watchers.
    pub fn watchers(&self) -> i64 {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Watchers that catch up.
    pub fn slow_watchers(&self) -> i64 {
        self.slow_watchers.load(Ordering::Relaxed)
    }

    /// Watch streams.
    pub fn watch_streams(&self) -> i64 {
        self.streams.load(Ordering::Relaxed)
    }
}
