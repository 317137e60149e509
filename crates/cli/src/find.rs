//! Which command a line means, by the rules of the reference's library (cobra v1.10, `Command.Find`):
//! the first words that are no flags nor their values name the command, wherever flags stand; a name
//! may be shortened as long as it is clear; a group takes any words, a program does not.

use clap::Command;
use std::ffi::{OsStr, OsString};

/// Names that differ in so many letters are suggested.
const DISTANCE_MAX: usize = 2;

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// The names of the command, whole, without the program's.
    pub(crate) path: Vec<String>,
    /// Its flags and arguments, in their order.
    pub(crate) rest: Vec<OsString>,
}

/// What the words after the program's name mean.
///
/// # Errors
/// The word that is no command, quoted by the caller, and what else could have been meant.
pub(crate) fn find(program: &Command, words: &[OsString]) -> Result<Meant, Unknown> {
    let mut meant = Meant { path: Vec::new(), rest: words.to_vec() };
    let mut command = program;
    while let Some(at) = first_place(command, &meant.rest) {
        let word = meant.rest[at].to_string_lossy().into_owned();
        let Some(next) = next(command, &word) else { break };
        meant.path.push(next.get_name().to_owned());
        meant.rest.remove(at);
        command = next;
    }
    let is_program = meant.path.is_empty() && program.has_subcommands();
    match first_place(command, &meant.rest) {
        Some(at) if is_program => {
            let word = meant.rest[at].to_string_lossy().into_owned();
            let near = suggestions(program, &word);
            Err(Unknown { word, near })
        }
        _ => Ok(meant),
    }
}

/// A word that is no command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(crate) word: String,
    pub(crate) near: Vec<String>,
}

/// The flags of a line without its arguments.
pub(crate) fn flags(command: &Command, words: &[OsString]) -> Vec<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let arguments = places(command, words);
    let flags = words[..end].iter().enumerate().filter(|(at, _)| !arguments.contains(at));
    flags.map(|(_, word)| word.clone()).collect()
}

/// Where the first word stands that could be a command.
fn first_place(command: &Command, words: &[OsString]) -> Option<usize> {
    places(command, words).into_iter().find(|at| !words[*at].is_empty())
}

/// Where words stand that are neither flags nor their values. An unknown flag takes a value.
fn places(command: &Command, words: &[OsString]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let word = words[at].to_string_lossy();
        if word == "--" {
            break;
        }
        if takes_next(command, &words[at]) {
            // A value that would be the last word is looked for no more.
            at += 2;
            continue;
        }
        if !word.starts_with('-') {
            places.push(at);
        }
        at += 1;
    }
    places
}

/// Whether a word is a flag whose value is the next word.
fn takes_next(command: &Command, word: &OsStr) -> bool {
    let word = word.to_string_lossy();
    match word.strip_prefix("--") {
        Some(long) => {
            !long.contains('=') && !is_switch(command, |arg| arg.get_long() == Some(long))
        }
        None => match word.strip_prefix('-') {
            Some(short) if short.chars().count() == 1 => {
                let letter = short.chars().next();
                !is_switch(command, |arg| arg.get_short() == letter)
            }
            _ => false,
        },
    }
}

/// A line without its questions for help, and whether the last of them asks: `--help`, `-h=false`.
///
/// # Errors
/// The value of one that is no truth value.
pub(crate) fn help(command: &Command, words: &[OsString]) -> Result<(Vec<OsString>, bool), String> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (mut rest, mut asks) = (Vec::new(), false);
    for (at, word) in words.iter().enumerate() {
        let text = word.to_string_lossy();
        let value = match text.split_once('=').unwrap_or((&text, "true")) {
            ("--help" | "-h", value) if at < end && !is_value(command, words, at) => value,
            _ => {
                rest.push(word.clone());
                continue;
            }
        };
        asks = crate::go::parse_bool(value).map_err(|_| value.to_owned())?;
    }
    Ok((rest, asks))
}

/// Whether a word is the value of the flag before it.
fn is_value(command: &Command, words: &[OsString], at: usize) -> bool {
    let mut here = 0;
    while here < at {
        here += if takes_next(command, &words[here]) { 2 } else { 1 };
    }
    here != at
}

/// What is no text in a line, as it may be named.
pub(crate) fn not_text(words: &[OsString]) -> String {
    let Some(at) = words.iter().position(|word| word.to_str().is_none()) else {
        return "an argument".to_owned();
    };
    let word = words[at].to_string_lossy();
    let before = at.checked_sub(1).map(|before| words[before].to_string_lossy());
    let own = word.split_once('=').map(|(flag, _)| flag).filter(|flag| flag.starts_with('-'));
    match own.or(before.as_deref().filter(|before| before.starts_with('-'))) {
        Some(flag) => format!("the value of {}", crate::secret::flag_shown(flag)),
        None => "an argument".to_owned(),
    }
}

/// Whether the flag that is meant needs no value.
fn is_switch(command: &Command, is_meant: impl Fn(&clap::Arg) -> bool) -> bool {
    let mut flags = command.get_arguments().filter(|arg| !arg.is_positional());
    flags.find(|arg| is_meant(arg)).is_some_and(|arg| {
        let least = arg.get_num_args().map_or(1, |range| range.min_values());
        !arg.get_action().takes_values() || least == 0
    })
}

/// A hidden command is one that the reference has and this program has not: it takes part in what is
/// clear, and is none.
fn next<'c>(command: &'c Command, word: &str) -> Option<&'c Command> {
    if let Some(exact) = command.find_subcommand(word) {
        return Some(exact).filter(|exact| !exact.is_hide_set());
    }
    let begins = |command: &&Command| {
        command.get_name_and_visible_aliases().iter().any(|name| name.starts_with(word))
    };
    let mut matching = command.get_subcommands().filter(begins);
    let only = matching.next().filter(|_| matching.next().is_none());
    only.filter(|only| !only.is_hide_set())
}

fn suggestions(command: &Command, word: &str) -> Vec<String> {
    let typed = word.to_lowercase();
    let is_near = |name: &&str| {
        let name = name.to_lowercase();
        strsim::levenshtein(&typed, &name) <= DISTANCE_MAX || name.starts_with(&typed)
    };
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    visible.map(Command::get_name).filter(is_near).map(str::to_owned).collect()
}

/// A word of a line that is the flag which a message names, as it was typed.
pub(crate) fn typed(words: &[OsString], is_it: impl Fn(&str) -> bool) -> Option<&OsStr> {
    let until = words.iter().take_while(|word| *word != "--");
    let mut found = until.filter(|word| is_it(&word.to_string_lossy()));
    found.next().map(OsString::as_os_str)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    fn program() -> Command {
        let flag = Arg::new("write-out").long("write-out").short('w').global(true);
        let switch = Arg::new("hex").long("hex").action(ArgAction::SetTrue).global(true);
        let keep = Command::new("keep-alive");
        let lease = Command::new("lease").subcommand(Command::new("grant")).subcommand(keep);
        let mut program = Command::new("tool").arg(flag).arg(switch).subcommand(lease);
        program = program.subcommand(Command::new("get")).subcommand(Command::new("put"));
        program = program.subcommand(Command::new("perf").hide(true));
        program.build();
        program
    }

    fn found(line: &str) -> Result<(String, String), Unknown> {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        let meant = find(&program(), &words)?;
        let rest: Vec<_> = meant.rest.iter().map(|word| word.to_string_lossy()).collect();
        Ok((meant.path.join(" "), rest.join(" ")))
    }

    #[test]
    fn flags_may_stand_anywhere() {
        let lines = [
            ("lease grant 2 -w json", "lease grant", "2 -w json"),
            ("lease -w json grant 2", "lease grant", "-w json 2"),
            ("-w json --hex lease gr 2", "lease grant", "-w json --hex 2"),
            ("--write-out=json le keep-alive", "lease keep-alive", "--write-out=json"),
            ("get get", "get", "get"),
            ("-w get get get", "get", "-w get get"),
            ("lease", "lease", ""),
            ("lease bogus --hex", "lease", "bogus --hex"),
            ("-- get a", "", "-- get a"),
            ("get -- -w put", "get", "-- -w put"),
            ("--bogus=1 put a", "put", "--bogus=1 a"),
            ("--bogus", "", "--bogus"),
        ];
        for (line, path, rest) in lines {
            assert_eq!(found(line).unwrap(), (path.to_owned(), rest.to_owned()), "{line}");
        }
    }

    #[test]
    fn unknown_commands_are_compared_with_those_there_are() {
        let unknown = |word: &str, near: &[&str]| {
            let near = near.iter().map(|near| (*near).to_owned()).collect();
            Err(Unknown { word: word.to_owned(), near })
        };
        assert_eq!(found("gett a"), unknown("gett", &["get"]));
        assert_eq!(found("LEA"), unknown("LEA", &["lease", "get"]));
        assert_eq!(found("ut"), unknown("ut", &["get", "put"]));
        assert_eq!(found("nonsense"), unknown("nonsense", &[]));
        assert_eq!(found("--bogus get a"), unknown("a", &[]));
        // What this program has not is known all the same: it could have been meant.
        for absent in ["perf", "pe", "p"] {
            let near: &[&str] = if absent == "p" { &["put"] } else { &[] };
            let Err(found) = found(absent) else { panic!("{absent} is a command") };
            assert!(near.iter().all(|name| found.near.contains(&(*name).to_owned())), "{found:?}");
        }
        assert_eq!(found("pu a").unwrap().0, "put");
    }

    #[test]
    fn groups_keep_their_flags_alone() {
        assert_eq!(find(&program(), &["".into()]).map(|meant| meant.path), Ok(Vec::new()));
        assert!(flags(&program(), &["".into()]).is_empty());
        let words: Vec<OsString> =
            "bogus --hex x -w json -- y".split(' ').map(Into::into).collect();
        assert_eq!(flags(&program(), &words), ["--hex", "-w", "json"]);
    }
}
