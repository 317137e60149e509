//! A member: the shipped turns, the queues between them, and whether each part sleeps.
//!
//! ```text
//! world --> core queue --Core--> log queue --Log--> file of the log
//!                        |--------> apply queue --Apply--> file queue --File--> database
//!                                                  '-----> watch queue --Watch--> streams
//! ```
//! Nothing is decided here: a part takes what waits for it, as its thread would, and keeps the effects
//! of its turn until the world carries them out. What a part sleeps on is the shipped queue.

mod core_part;
mod part;
mod parts;
mod seen;

pub(crate) use core_part::{Connections, CorePart};
pub(crate) use part::{Next, Pace, Part};
pub(crate) use parts::{ApplyPart, FileJob, FilePart, LogPart, WatchPart};
pub(crate) use seen::{Deaf, Notes, Seen};

use crate::hashes::{Hashes, hashes_of};
use crate::plan::{ELECTION_TIMEOUT, Rules};
use disk::Disk;
use replica::turn::{self, Caller, CorePace, RequestIds, RequestLimits, Time};
use replica::{Fault, Options, Parts};
use std::sync::Arc;

/// The longest entry that members take.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Simulated callers: a number each.
pub(crate) enum SimCaller {}

/// A request's number, never used twice in a run.
pub(crate) type Ticket = u64;

impl Caller for SimCaller {
    type Write = Ticket;
    type Ticket<A: Send + 'static> = Ticket;
}

pub(crate) type Common = turn::Common<SimCaller>;
pub(crate) type CoreEvent = turn::CoreEvent<SimCaller>;
pub(crate) type CoreEffect = turn::CoreEffect<SimCaller>;
pub(crate) type ApplyEvent = turn::ApplyEvent<SimCaller>;
pub(crate) type ApplyEffect = turn::ApplyEffect<SimCaller>;
pub(crate) type LogEffect = turn::LogEffect<SimCaller>;

/// A running member.
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) common: Arc<Common>,
    pub(crate) backend_reader: backend::Reader,
    pub(crate) core: CorePart,
    pub(crate) log: LogPart,
    pub(crate) apply: ApplyPart,
    pub(crate) file: FilePart,
    pub(crate) watch: WatchPart,
    /// With [`crate::Mistake::ApplyUncommitted`]: what was given to the applier already.
    pub(crate) applied_ahead: u64,
    started_us: u64,
}

impl Member {
    /// Opens a member at this time; `now_ms` names its requests, and is not used twice.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: &Options,
        rules: &Rules,
        now_us: u64,
        now_ms: u64,
    ) -> Result<Member, Fault> {
        let Parts { core, log_writer, applier, reader, backend_reader, identity, .. } =
            replica::open(disk, options)?;
        let whose = (identity.cluster_id, identity.member_id);
        let limits = RequestLimits {
            entry_bytes_max: ENTRY_BYTES_MAX,
            request_timeout: rules.request_timeout,
            election_timeout: ELECTION_TIMEOUT,
        };
        let ids = RequestIds::new(identity.member_id, now_ms);
        let members = applier.machine.members.clone();
        let common = Arc::new(Common::new(whose, limits, ids, reader.clone(), members));
        let pace =
            CorePace { election_ticks: options.election_ticks, advances: rules.advances_election };
        Ok(Member {
            id: identity.member_id,
            backend_reader,
            core: CorePart::new(&common, core, pace, now_us),
            log: LogPart::new(log_writer),
            apply: ApplyPart::new(&common, applier, rules),
            file: FilePart::default(),
            watch: WatchPart::new(reader, whose, rules),
            common,
            applied_ahead: 0,
            started_us: now_us,
        })
    }

    /// How long it has been running.
    pub(crate) fn time(&self, now_us: u64) -> Time {
        Time::from_micros(now_us - self.started_us)
    }

    /// Whether a part sleeps.
    pub(crate) fn pace(&mut self, part: Part) -> &mut Pace {
        match part {
            Part::Core => &mut self.core.pace,
            Part::Log => &mut self.log.pace,
            Part::Apply => &mut self.apply.pace,
            Part::File => &mut self.file.pace,
            Part::Watch => &mut self.watch.pace,
        }
    }

    /// The last entry applied here.
    pub(crate) fn applied(&self) -> u64 {
        self.apply.applied()
    }

    /// What everything applied hashes to.
    pub(crate) fn hashes(&self) -> Hashes {
        let database = self.apply.turn.applier().machine.backend.reader();
        hashes_of(&self.common.reader, &database)
    }

    /// How much waits within, for whatever.
    pub(crate) fn waiting(&self) -> usize {
        self.common.waiters.len()
            + self.core.turn.waiting()
            + self.apply.turn.waiting()
            + self.file.jobs.len()
    }

    /// Ends as a member that is asked to: what is to be written is, and what is applied goes into the file.
    pub(crate) fn stop(mut self) -> Result<(), Fault> {
        let rest = self.log.take_unwritten(self.core.turn.take_unwritten());
        rest.into_iter().try_for_each(|persist| self.log.turn.write_one(persist).map(|_| ()))?;
        self.apply.turn.close()
    }
}
