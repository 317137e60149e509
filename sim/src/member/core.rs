//! The core's turn: as `server`'s core thread.

use super::{ApplyEvent, CoreEvent, LogEvent, Member, Out, Waiting};
use crate::plan::Mistake;
use bytes::Bytes;
use proto::raftpb::{Entry, Message, MessageType};
use replica::raft::{ReadState, Role};
use replica::{Command, Persist};

/// After how long an unanswered read is asked again.
const RETRY_US: u64 = 500_000;

impl Member {
    pub(super) fn core_turn(&mut self, now_us: u64, out: &mut Vec<Out>) {
        while let Some(event) = self.core_in.pop_front() {
            self.handle(event, now_us, out);
        }
        let mut commands = std::mem::take(&mut self.commands);
        self.core.poll(&mut commands);
        for command in commands.drain(..) {
            self.dispatch(command, out);
        }
        self.commands = commands;
        self.leads = self.core.status().role == Role::Leader;
        self.serve_reads(out);
    }

    fn handle(&mut self, event: CoreEvent, now_us: u64, out: &mut Vec<Out>) {
        match event {
            CoreEvent::Tick => {
                self.core.tick();
                self.retry_reads(now_us);
            }
            CoreEvent::Step(message) => {
                // What does not fit is not for this member.
                let _ = self.core.step(*message);
            }
            CoreEvent::Propose { id, data } => {
                if self.core.propose(data).is_err() {
                    out.push(Out::Refused(id));
                }
            }
            CoreEvent::ProposeConfChange(change) => {
                if self.core.propose_conf_change(&change).is_err() {
                    out.push(Out::Refused(change.id()));
                }
            }
            CoreEvent::Persisted(number) => {
                out.push(Out::Written(number));
                self.core.persisted(number);
            }
            CoreEvent::Applied { index, conf_changes } => self.core.applied(index, &conf_changes),
            CoreEvent::Unreachable(id) => self.core.report_unreachable(id),
            CoreEvent::SnapshotSent { to, delivered } => self.core.report_snapshot(to, delivered),
            CoreEvent::Transfer(to) => self.core.transfer_leader(to),
            CoreEvent::Read(ticket) => self.read(ticket, now_us),
        }
    }

    // ---- reads -----------------------------------------------------------------------------

    fn read(&mut self, ticket: u64, now_us: u64) {
        let status = self.core.status();
        let index = (status.may_read || self.mistake == Some(Mistake::ReadLocally)).then_some(0);
        self.next_context += 1;
        self.reads.push(Waiting { ticket, context: self.next_context, asked_us: now_us, index });
        if index.is_none() {
            self.core.read_index(context(self.next_context));
        }
    }

    fn retry_reads(&mut self, now_us: u64) {
        let is_late = |read: &Waiting| read.index.is_none() && now_us >= read.asked_us + RETRY_US;
        for place in 0..self.reads.len() {
            if is_late(&self.reads[place]) {
                self.next_context += 1;
                self.reads[place].context = self.next_context;
                self.reads[place].asked_us = now_us;
                self.core.read_index(context(self.next_context));
            }
        }
    }

    fn confirm(&mut self, state: &ReadState) {
        let confirmed = |read: &&mut Waiting| context(read.context) == state.context;
        for read in self.reads.iter_mut().filter(confirmed) {
            read.index = Some(state.index);
        }
    }

    pub(super) fn serve_reads(&mut self, out: &mut Vec<Out>) {
        let applied = self.applied();
        let served = |read: &mut Waiting| read.index.is_some_and(|index| index <= applied);
        out.extend(self.reads.extract_if(.., served).map(|read| Out::Readable(read.ticket)));
    }

    // ---- what raft asks for ----------------------------------------------------------------

    fn dispatch(&mut self, command: Command, out: &mut Vec<Out>) {
        match command {
            Command::Persist(persist) => self.write(persist, out),
            Command::Apply(entries) => self.apply_in.push_back(ApplyEvent::Entries(entries)),
            Command::Restore(snapshot) => self.apply_in.push_back(ApplyEvent::Restore(snapshot)),
            Command::Send(messages) => messages.into_iter().for_each(|one| self.send(one, out)),
            Command::Readable(states) => states.iter().for_each(|state| self.confirm(state)),
        }
    }

    fn send(&mut self, message: Message, out: &mut Vec<Out>) {
        if message.r#type() == MessageType::MsgSnap {
            self.apply_in.push_back(ApplyEvent::SendSnapshot(Box::new(message)));
        } else {
            out.push(Out::Send(message));
        }
    }

    fn write(&mut self, persist: Persist, out: &mut Vec<Out>) {
        out.push(Out::Writing(persist.clone()));
        match self.mistake {
            Some(Mistake::AcknowledgeEarly) => self.tell(CoreEvent::Persisted(persist.number)),
            Some(Mistake::ApplyUncommitted) => self.apply_ahead(&persist.entries),
            _ => {}
        }
        self.log_in.push_back(LogEvent::Persist(persist));
    }

    fn apply_ahead(&mut self, entries: &[Entry]) {
        let ahead = self.applied_ahead;
        let new: Vec<Entry> = entries.iter().filter(|e| e.index() > ahead).cloned().collect();
        if let (Some(first), Some(last)) = (new.first(), new.last())
            && first.index() == ahead + 1
        {
            self.applied_ahead = last.index();
            self.apply_in.push_back(ApplyEvent::Entries(new));
        }
    }
}

fn context(number: u64) -> Bytes {
    number.to_be_bytes().to_vec().into()
}
