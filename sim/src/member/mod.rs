//! A member as its threads would run it, turned by hand: the three parts and the queues between.
//!
//! ```text
//! world --> core queue --Core--> log queue --Log--> file of the log
//!                        |--------> apply queue --Apply--> file queue --File--> database
//! ```
//! A turn takes everything that waits for a part, as its thread would. What it has for others goes
//! into an [`Out`], and the world decides when it arrives.

mod apply;
mod core;
mod log;

use crate::checks::Hashes;
use crate::plan::Mistake;
use bytes::Bytes;
use proto::raftpb::{ConfChange, Entry, Message, Snapshot};
use replica::apply::backend::{self, CommitJob, Committed, DefragJob, Defragmented};
use replica::apply::{Outcome, mvcc};
use replica::disk::Disk;
use replica::{Applier, Command, Core, Fault, LogWriter, Options, Parts, Persist, SnapshotDue};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A part of a member, to be given a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Core,
    Log,
    Apply,
    File,
}

impl Part {
    pub(crate) const ALL: [Part; 4] = [Part::Core, Part::Log, Part::Apply, Part::File];
}

/// For the core.
#[derive(Debug)]
pub(crate) enum CoreEvent {
    Tick,
    Step(Box<Message>),
    Propose { id: u64, data: Bytes },
    ProposeConfChange(ConfChange),
    Persisted(u64),
    Applied { index: u64, conf_changes: Vec<ConfChange> },
    Unreachable(u64),
    SnapshotSent { to: u64, delivered: bool },
    Transfer(u64),
    Read(u64),
}

enum LogEvent {
    Persist(Persist),
    Snapshot(SnapshotDue),
}

enum ApplyEvent {
    Entries(Vec<Entry>),
    Restore(Snapshot),
    SendSnapshot(Box<Message>),
    Committed(Committed),
    Defragmented(Defragmented),
    Defragment,
}

enum FileJob {
    Commit(CommitJob),
    Defragment(DefragJob),
}

/// What a turn has for the world.
#[derive(Debug)]
pub(crate) enum Out {
    /// For a peer.
    Send(Message),
    /// For a peer, with the database.
    SendSnapshot(Message, Vec<u8>),
    /// The core asked for this to be written.
    Writing(Persist),
    /// The core was told that everything up to this write is durable.
    Written(u64),
    /// Applied here, with whether it was applied before.
    Applied(Entry, Box<Outcome>, bool),
    /// Everything up to here is applied and hashes to this.
    Hashed { index: u64, hashes: Hashes },
    /// A proposal was not taken.
    Refused(u64),
    /// A read may be served from what is applied.
    Readable(u64),
}

/// A read that waits.
struct Waiting {
    ticket: u64,
    context: u64,
    asked_us: u64,
    index: Option<u64>,
}

/// A running member.
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) core: Core,
    pub(crate) log: LogWriter,
    pub(crate) applier: Applier,
    pub(crate) reader: mvcc::Reader,
    backend_reader: backend::Reader,
    mistake: Option<Mistake>,
    core_in: VecDeque<CoreEvent>,
    log_in: VecDeque<LogEvent>,
    apply_in: VecDeque<ApplyEvent>,
    file_in: VecDeque<FileJob>,
    commands: Vec<Command>,
    reads: Vec<Waiting>,
    /// Never used twice, in no life of any member.
    next_context: u64,
    /// Requests that somebody here waits for.
    pub(crate) awaited: BTreeSet<u64>,
    leads: bool,
    held: Vec<Entry>,
    restoring: Option<Snapshot>,
    snapshots_asked: Vec<Message>,
    snapshots_next: Vec<Message>,
    defragment_asked: bool,
    commit_due: bool,
    leases_due: bool,
    revoking: BTreeMap<i64, u64>,
    /// With [`Mistake::ApplyUncommitted`]: what was given to the applier already.
    applied_ahead: u64,
}

impl Member {
    /// Opens a member; `contexts` begins the names of its reads.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: &Options,
        contexts: u64,
        mistake: Option<Mistake>,
    ) -> Result<Member, Fault> {
        let Parts { core, log_writer, applier, reader, backend_reader, identity, .. } =
            replica::open(disk, options)?;
        let applied_ahead = applier.machine.backend.applied().index;
        Ok(Member {
            id: identity.member_id,
            core,
            log: log_writer,
            applier,
            reader,
            backend_reader,
            mistake,
            core_in: VecDeque::new(),
            log_in: VecDeque::new(),
            apply_in: VecDeque::new(),
            file_in: VecDeque::new(),
            commands: Vec::new(),
            reads: Vec::new(),
            next_context: contexts,
            awaited: BTreeSet::new(),
            leads: false,
            held: Vec::new(),
            restoring: None,
            snapshots_asked: Vec::new(),
            snapshots_next: Vec::new(),
            defragment_asked: false,
            commit_due: false,
            leases_due: false,
            revoking: BTreeMap::new(),
            applied_ahead,
        })
    }

    /// Hands something to the core.
    pub(crate) fn tell(&mut self, event: CoreEvent) {
        self.core_in.push_back(event);
    }

    /// A database commit is due; every few ticks leases are looked at, too.
    pub(crate) fn time_passes(&mut self, leases: bool) {
        self.commit_due = true;
        self.leases_due |= leases;
    }

    /// Asks for a defragmentation.
    pub(crate) fn defragment(&mut self) {
        self.apply_in.push_back(ApplyEvent::Defragment);
    }

    /// Whether something waits for a part.
    pub(crate) fn wants(&self, part: Part) -> bool {
        match part {
            Part::Core => !self.core_in.is_empty(),
            Part::Log => !self.log_in.is_empty(),
            Part::File => !self.file_in.is_empty(),
            Part::Apply => {
                !self.apply_in.is_empty()
                    || self.commit_due
                    || self.applier.machine.store.is_compacting()
            }
        }
    }

    /// Gives a part its turn.
    ///
    /// # Errors
    /// The member must stop.
    pub(crate) fn turn(
        &mut self,
        part: Part,
        now_us: u64,
        out: &mut Vec<Out>,
    ) -> Result<(), Fault> {
        match part {
            Part::Core => {
                self.core_turn(now_us, out);
                Ok(())
            }
            Part::Log => self.log_turn(),
            Part::Apply => self.apply_turn(now_us, out),
            Part::File => self.file_turn(),
        }
    }

    /// The last entry applied here.
    pub(crate) fn applied(&self) -> u64 {
        self.applier.machine.backend.applied().index
    }

    /// Ends as a member that is asked to: what is applied goes into the file.
    pub(crate) fn stop(mut self) -> Result<(), Fault> {
        if !self.applier.machine.backend.job_is_out() {
            self.applier.machine.backend.commit()?;
        }
        Ok(())
    }
}
