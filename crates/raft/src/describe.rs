//! Messages and everything else that a node hands out, as text for people.

use crate::ready::Ready;
use crate::storage::snapshot_index;
use crate::wire::{self, APPEND_THREAD, APPLY_THREAD, NONE};
use prost::Message as _;
use proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, Snapshot,
};
use std::fmt::Write;

/// Everything that is to be done.
pub fn ready(ready: &Ready) -> String {
    let mut text = String::new();
    if let Some(soft) = ready.soft_state {
        line(&mut text, &format!("Lead:{} State:{}", soft.leader, soft.role));
    }
    if let Some(hard) = ready.hard_state {
        line(&mut text, &format!("HardState {}", hard_state(&hard)));
    }
    if !ready.read_states.is_empty() {
        let states = ready.read_states.iter();
        let states = states.map(|state| format!("{{{} {}}}", state.index, list(&state.context)));
        line(&mut text, &format!("ReadStates [{}]", states.collect::<Vec<_>>().join(" ")));
    }
    section(&mut text, "Entries:", ready.to_persist().iter().map(entry));
    if let Some(snap) = ready.snapshot.as_ref().filter(|snap| snapshot_index(snap) > 0) {
        line(&mut text, &format!("Snapshot {}", snapshot(snap)));
    }
    section(&mut text, "CommittedEntries:", ready.to_apply().iter().map(entry));
    section(&mut text, "Messages:", ready.messages.iter().map(message));
    if text.is_empty() {
        return "<empty Ready>".into();
    }
    format!("Ready MustSync={}:\n{text}", ready.must_sync)
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn section(text: &mut String, title: &str, lines: impl ExactSizeIterator<Item = String>) {
    if lines.len() > 0 {
        line(text, title);
        lines.for_each(|found| line(text, &found));
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(T::to_string).collect::<Vec<_>>().join(" "))
}

/// A term, a vote and a commit index.
pub fn hard_state(state: &HardState) -> String {
    let vote = if state.vote() == 0 { String::new() } else { format!(" Vote:{}", state.vote()) };
    format!("Term:{}{vote} Commit:{}", state.term(), state.commit())
}

/// A configuration.
pub fn conf_state(state: &ConfState) -> String {
    format!(
        "Voters:{} VotersOutgoing:{} Learners:{} LearnersNext:{} AutoLeave:{}",
        list(&state.voters),
        list(&state.voters_outgoing),
        list(&state.learners),
        list(&state.learners_next),
        state.auto_leave()
    )
}

/// A snapshot without its data.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    let state = conf_state(&metadata.conf_state.clone().unwrap_or_default());
    format!("Index:{} Term:{} ConfState:{state}", metadata.index(), metadata.term())
}

/// A message, over several lines where it carries several things.
pub fn message(message: &Message) -> String {
    indented("", message)
}

fn indented(indent: &str, message: &Message) -> String {
    let mut text = format!(
        "{indent}{}->{} {} Term:{} Log:{}/{}",
        target(message.from()),
        target(message.to()),
        message.r#type().as_str_name(),
        message.term(),
        message.log_term(),
        message.index()
    );
    if message.reject() {
        text += &format!(" Rejected (Hint: {})", message.reject_hint());
    }
    for (name, value) in [("Commit", message.commit()), ("Vote", message.vote())] {
        if value != 0 {
            text += &format!(" {name}:{value}");
        }
    }
    text += &match &message.entries[..] {
        [] => String::new(),
        [one] => format!(" Entries:[{}]", entry(one)),
        many => {
            let lines = many.iter().map(|one| format!("\n{indent}  {}", entry(one)));
            format!(" Entries:[{}\n{indent}]", lines.collect::<String>())
        }
    };
    if let Some(snap) = message.snapshot.as_ref().filter(|snap| snapshot_index(snap) > 0) {
        text += &format!("\n{indent}  Snapshot: {}", snapshot(snap));
    }
    if !message.responses.is_empty() {
        let deeper = format!("{indent}  ");
        let lines = message.responses.iter().map(|one| format!("\n{}", indented(&deeper, one)));
        text += &format!(" Responses:[{}\n{indent}]", lines.collect::<String>());
    }
    text
}

fn target(id: u64) -> String {
    match id {
        NONE => "None".into(),
        APPEND_THREAD => "AppendThread".into(),
        APPLY_THREAD => "ApplyThread".into(),
        id => format!("{id:x}"),
    }
}

/// An entry with its data.
pub fn entry(entry: &Entry) -> String {
    let data = entry.data.clone().unwrap_or_default();
    let unreadable = |error: prost::DecodeError| error.to_string();
    let text = match entry.r#type() {
        EntryType::EntryNormal => quote(&data),
        EntryType::EntryConfChange => ConfChange::decode(data)
            .map_or_else(unreadable, |one| conf_changes(&wire::conf_change_v2(&one).changes)),
        EntryType::EntryConfChangeV2 => {
            ConfChangeV2::decode(data).map_or_else(unreadable, |many| conf_changes(&many.changes))
        }
    };
    let gap = if text.is_empty() { "" } else { " " };
    let kind = entry.r#type().as_str_name();
    format!("{}/{} {kind}{gap}{text}", entry.term(), entry.index())
}

/// Changes in short: `v1` a voter, `l2` a learner, `r3` removed, `u4` updated.
pub fn conf_changes(changes: &[ConfChangeSingle]) -> String {
    let short = changes.iter().map(|change| {
        let letter = match change.r#type() {
            ConfChangeType::ConfChangeAddNode => 'v',
            ConfChangeType::ConfChangeAddLearnerNode => 'l',
            ConfChangeType::ConfChangeRemoveNode => 'r',
            ConfChangeType::ConfChangeUpdateNode => 'u',
        };
        format!("{letter}{}", change.node_id())
    });
    short.collect::<Vec<_>>().join(" ")
}

/// Bytes between quotation marks, with everything escaped that would not print.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|one| quote_char(&mut text, one));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text + "\""
}

fn quote_char(text: &mut String, one: char) {
    match one {
        '"' | '\\' => text.extend(['\\', one]),
        '\x07' => text.push_str("\\a"),
        '\x08' => text.push_str("\\b"),
        '\x0c' => text.push_str("\\f"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\x0b' => text.push_str("\\v"),
        '\0'..' ' | '\x7f' => {
            let _ = write!(text, "\\x{:02x}", one as u32);
        }
        one => text.push(one),
    }
}
