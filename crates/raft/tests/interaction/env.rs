//! Clusters with their messages in flight, and the commands that move them.

#[path = "member.rs"]
mod member;
#[path = "output.rs"]
mod output;
#[path = "params.rs"]
mod params;

use super::common::Directive;
use member::Member;
use output::{LEVELS, Output};
use params::{NewMembers, conf_change, ids, number, value};
use proto::raftpb::{Message, MessageType};
use raft::{Storage, describe, wire};

/// A cluster.
#[derive(Default)]
pub(crate) struct Env {
    members: Vec<Member>,
    /// Messages in flight.
    messages: Vec<Message>,
    output: Output,
}

type Outcome = Result<(), String>;

/// To whom messages are delivered, or for whom they are lost.
#[derive(Clone, Copy)]
struct Recipient {
    id: u64,
    drop: bool,
}

impl Env {
    /// Does what a command says; what it prints, or `ok`.
    pub(crate) fn handle(&mut self, directive: &Directive) -> String {
        self.output.clear();
        let outcome = self.dispatch(directive);
        for member in &self.members {
            member.node.check();
            member.node.storage().memory.check();
        }
        if let Err(error) = outcome {
            if self.output.is_quiet() {
                return error;
            }
            self.output.print(&error);
        }
        self.output.take()
    }

    fn dispatch(&mut self, directive: &Directive) -> Outcome {
        let first = || number(&directive.args[0].key);
        match directive.command.as_str() {
            "_breakpoint" => Ok(()),
            "add-nodes" => self.add_members(first(), NewMembers::parse(directive)?),
            "campaign" => self.with(first(), |member| member.node.campaign()),
            "compact" => self.compact(first(), number(&directive.args[1].key)),
            "deliver-msgs" => self.deliver_command(directive),
            "process-ready" => self.for_each(directive, "handling Ready", Env::process_ready),
            "process-append-thread" => {
                self.for_each(directive, "processing append thread", Env::process_append)
            }
            "process-apply-thread" => {
                self.for_each(directive, "processing apply thread", Env::process_apply)
            }
            "log-level" => self.set_level(&directive.args[0].key),
            "raft-log" => self.print_log(first()),
            "raft-state" => self.print_states(),
            "set-randomized-election-timeout" => {
                let ticks = number(value(directive, "timeout").ok_or("no timeout")?) as u32;
                self.with(first(), |member| member.node.set_randomized_election_ticks(ticks))
            }
            "stabilize" => self.stabilize_command(directive),
            "status" => self.print_progress(first()),
            "tick-election" => self.with(first(), |member| member.tick(member::ELECTION_TICKS)),
            "tick-heartbeat" => self.with(first(), |member| member.tick(member::HEARTBEAT_TICKS)),
            _ => self.dispatch_requests(directive),
        }
    }

    fn dispatch_requests(&mut self, directive: &Directive) -> Outcome {
        let ids = ids(directive);
        match directive.command.as_str() {
            "transfer-leadership" => {
                let to = number(value(directive, "to").ok_or("no to")?);
                let from = number(value(directive, "from").ok_or("no from")?);
                self.with(from, |member| member.node.transfer_leader(to))
            }
            "forget-leader" => self.with(ids[0], |member| member.node.forget_leader()),
            "send-snapshot" => self.send_snapshot(ids[0], ids[1]),
            "propose" => {
                let (id, data) = (number(&directive.args[0].key), directive.args[1].key.clone());
                self.with(id, |member| member.node.propose(data.into()))?.map_err(text)
            }
            "propose-conf-change" => {
                let proposed = conf_change(directive)?;
                let id = number(&directive.args[0].key);
                self.with(id, |member| proposed.propose(&mut member.node))?.map_err(text)
            }
            "report-unreachable" => match ids[..] {
                [from, about] => self.with(from, |member| member.node.report_unreachable(about)),
                _ => Err("must specify exactly two node indexes: node on which to report, and \
                          reported node"
                    .into()),
            },
            _ => Err("unknown command".into()),
        }
    }

    fn member(&mut self, id: u64) -> &mut Member {
        &mut self.members[id as usize - 1]
    }

    fn with<T>(&mut self, id: u64, act: impl FnOnce(&mut Member) -> T) -> Result<T, String> {
        Ok(act(self.member(id)))
    }

    fn add_members(&mut self, count: u64, new: NewMembers) -> Outcome {
        for _ in 0..count {
            let id = self.members.len() as u64 + 1;
            self.members.push(Member::new(id, &new)?);
        }
        Ok(())
    }

    fn set_level(&mut self, name: &str) -> Outcome {
        self.output.level = LEVELS
            .iter()
            .position(|level| level.eq_ignore_ascii_case(name))
            .ok_or(format!("log levels must be either of [{}]", LEVELS.join(" ")))?;
        Ok(())
    }

    /// Does something for each member named; with a heading where there are several.
    fn for_each(
        &mut self,
        directive: &Directive,
        heading: &str,
        act: fn(&mut Env, u64) -> Outcome,
    ) -> Outcome {
        let ids = ids(directive);
        for id in &ids {
            if ids.len() > 1 {
                self.headed(*id, heading, |env| act(env, *id))?;
            } else {
                act(self, *id)?;
            }
        }
        Ok(())
    }

    fn headed(&mut self, id: u64, heading: &str, act: impl FnOnce(&mut Env) -> Outcome) -> Outcome {
        self.output.print(&format!("> {id} {heading}\n"));
        let outer = self.output.begin_indent();
        let outcome = act(self);
        self.output.end_indent(outer);
        outcome
    }

    fn compact(&mut self, id: u64, index: u64) -> Outcome {
        self.member(id).node.storage_mut().memory.compact(index).map_err(text)?;
        self.print_log(id)
    }

    fn print_log(&mut self, id: u64) -> Outcome {
        let storage = self.member(id).node.storage();
        let (first, last) = (storage.first_index(), storage.last_index());
        if last < first {
            let text = format!("log is empty: first index={first}, last index={last}");
            self.output.print(&text);
            return Ok(());
        }
        let entries = storage.entries(first, last + 1, wire::NO_LIMIT).map_err(text)?;
        for entry in &entries {
            self.output.print(&format!("{}\n", describe::entry(entry)));
        }
        Ok(())
    }

    fn print_states(&mut self) -> Outcome {
        for member in &self.members {
            let status = member.node.status();
            let (id, role, term) = (status.basic.id, status.basic.role, status.basic.term);
            let votes = status.config.voters.contains(id);
            let votes = if votes { "(Voter)" } else { "(Non-Voter)" };
            let leader = status.basic.leader;
            self.output.print(&format!("{id}: {role} {votes} Term:{term} Lead:{leader}\n"));
        }
        Ok(())
    }

    fn print_progress(&mut self, id: u64) -> Outcome {
        let progress = self.member(id).node.status().progress.to_string();
        self.output.print(&progress);
        Ok(())
    }

    fn send_snapshot(&mut self, from: u64, to: u64) -> Outcome {
        let node = &self.member(from).node;
        let message = Message {
            r#type: Some(MessageType::MsgSnap as i32),
            term: Some(node.basic_status().term),
            from: Some(from),
            to: Some(to),
            snapshot: Some(node.storage().snapshot().map_err(text)?),
            ..Message::default()
        };
        self.output.print(&describe::message(&message));
        self.messages.push(message);
        Ok(())
    }

    fn process_ready(&mut self, id: u64) -> Outcome {
        let member = &mut self.members[id as usize - 1];
        let ready = member.node.ready();
        self.output.print(&describe::ready(&ready));
        self.messages.extend(member.process_ready(ready)?);
        Ok(())
    }

    fn process_append(&mut self, id: u64) -> Outcome {
        let Some(mut message) = self.member(id).append_work.pop_front() else {
            self.output.print("no append work to perform");
            return Ok(());
        };
        let responses = std::mem::take(&mut message.responses);
        self.output.print(&format!("Processing:\n{}\n", describe::message(&message)));
        self.member(id).persist_message(message)?;
        self.respond(responses);
        Ok(())
    }

    fn process_apply(&mut self, id: u64) -> Outcome {
        let Some(mut message) = self.member(id).apply_work.pop_front() else {
            self.output.print("no apply work to perform");
            return Ok(());
        };
        let responses = std::mem::take(&mut message.responses);
        self.output.print(&format!("Processing:\n{}\n", describe::message(&message)));
        self.member(id).apply(&message.entries)?;
        self.respond(responses);
        Ok(())
    }

    fn respond(&mut self, responses: Vec<Message>) {
        self.output.print("Responses:\n");
        for response in &responses {
            self.output.print(&format!("{}\n", describe::message(response)));
        }
        self.messages.extend(responses);
    }

    fn deliver_command(&mut self, directive: &Directive) -> Outcome {
        let mut kind = None;
        let mut recipients = Vec::new();
        for arg in &directive.args {
            if arg.values.is_empty() {
                recipients.push(Recipient { id: number(&arg.key), drop: false });
            }
            for value in &arg.values {
                if arg.key == "drop" {
                    recipients.push(Recipient { id: number(value), drop: true });
                } else if arg.key == "type" {
                    kind = Some(MessageType::from_str_name(value).ok_or("unknown message type")?);
                }
            }
        }
        if self.deliver(kind, &recipients) == 0 {
            self.output.print("no messages\n");
        }
        Ok(())
    }

    /// Delivers messages, in order, or loses them; how many there were.
    fn deliver(&mut self, kind: Option<MessageType>, recipients: &[Recipient]) -> usize {
        let mut count = 0;
        for recipient in recipients {
            let messages = std::mem::take(&mut self.messages);
            let (chosen, rest) =
                messages.into_iter().partition(|message| is_for(message, *recipient, kind));
            self.messages = rest;
            let chosen: Vec<Message> = chosen;
            count += chosen.len();
            for message in chosen {
                let dropped = if recipient.drop { "dropped: " } else { "" };
                self.output.print(&format!("{dropped}{}\n", describe::message(&message)));
                if recipient.drop {
                    continue;
                }
                let outcome = self.member(message.to()).node.step(message);
                if let Err(error) = outcome {
                    self.output.print(&format!("{error}\n"));
                }
            }
        }
        count
    }

    fn stabilize_command(&mut self, directive: &Directive) -> Outcome {
        let level = self.output.level;
        if let Some(name) = value(directive, "log-level") {
            self.set_level(name)?;
        }
        let mut chosen = ids(directive);
        if chosen.is_empty() {
            chosen = (1..=self.members.len() as u64).collect();
        }
        let outcome = self.stabilize(&chosen);
        self.output.level = level;
        outcome
    }

    /// Lets members work until none of them has anything left to do.
    fn stabilize(&mut self, ids: &[u64]) -> Outcome {
        loop {
            let mut done = true;
            for id in ids.iter().copied() {
                if self.member(id).node.has_ready() {
                    self.headed(id, "handling Ready", |env| env.process_ready(id))?;
                    done = false;
                }
            }
            for recipient in ids.iter().map(|id| Recipient { id: *id, drop: false }) {
                if self.messages.iter().any(|message| is_for(message, recipient, None)) {
                    self.headed(recipient.id, "receiving messages", |env| {
                        env.deliver(None, &[recipient]);
                        Ok(())
                    })?;
                    done = false;
                }
            }
            done &= !self.work_off(ids)?;
            if done {
                return Ok(());
            }
        }
    }

    /// Lets the storage threads work; whether they had anything to do.
    fn work_off(&mut self, ids: &[u64]) -> Result<bool, String> {
        let mut worked = false;
        for (name, waits, act) in THREADS {
            for id in ids.iter().copied() {
                if !waits(self.member(id)) {
                    continue;
                }
                self.output.print(&format!("> {id} processing {name} thread\n"));
                while waits(self.member(id)) {
                    let outer = self.output.begin_indent();
                    let outcome = act(self, id);
                    self.output.end_indent(outer);
                    outcome?;
                }
                worked = true;
            }
        }
        Ok(worked)
    }
}

type Thread = (&'static str, fn(&Member) -> bool, fn(&mut Env, u64) -> Outcome);

/// The storage threads: whether one has work, and how it does a piece of it.
const THREADS: [Thread; 2] = [
    ("append", |member| !member.append_work.is_empty(), Env::process_append),
    ("apply", |member| !member.apply_work.is_empty(), Env::process_apply),
];

fn is_for(message: &Message, recipient: Recipient, kind: Option<MessageType>) -> bool {
    let is_local = message.from() == message.to()
        || wire::is_local_target(message.from())
        || wire::is_local_target(message.to());
    message.to() == recipient.id
        && !(recipient.drop && is_local)
        && kind.is_none_or(|kind| message.r#type() == kind)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
