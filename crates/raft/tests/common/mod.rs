//! Scripts of commands with the output that the reference gave for them.
//!
//! ```text
//! # a comment
//! command argument key=value key=(several, values)
//! input, where the command wants any
//! ----
//! expected output, up to an empty line; or between two pairs of such lines, where it has some
//! ```
#![allow(clippy::unwrap_used)] // the helpers of tests too
#![allow(dead_code)] // not every test wants all of them
#![allow(clippy::print_stdout)] // skipping is said aloud

use proto::raftpb::{ConfChangeSingle, ConfChangeType};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// One command of a script.
pub(crate) struct Directive {
    /// File and line.
    pub(crate) place: String,
    /// The first word.
    pub(crate) command: String,
    /// The words behind it.
    pub(crate) args: Vec<Arg>,
    /// The lines below it.
    pub(crate) input: String,
    /// What must come out.
    pub(crate) expected: String,
}

/// One word behind a command.
pub(crate) struct Arg {
    /// The word, up to an equals sign.
    pub(crate) key: String,
    /// What stands behind that.
    pub(crate) values: Vec<String>,
}

/// Runs every script of a kind, each with a machine of its own, up to the first difference.
pub(crate) fn run<M: FnMut(&Directive) -> String>(kind: &str, mut machine: impl FnMut() -> M) {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/raft");
    let root = env::var_os("HOLDFAST_RAFT_TRACES").map_or(default, PathBuf::from);
    let dir = root.join(kind);
    let Ok(found) = fs::read_dir(&dir) else {
        println!("skipped: there are no scripts in {}", dir.display());
        return;
    };
    let mut files: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    for file in &files {
        println!("{}", file.display());
        run_file(file, machine());
    }
    println!("{} scripts", files.len());
}

fn run_file(file: &Path, mut machine: impl FnMut(&Directive) -> String) {
    let text = fs::read_to_string(file).unwrap();
    for directive in parse(&file.display().to_string(), &text) {
        let _named = Named(&directive.place);
        let mut actual = machine(&directive);
        if !actual.is_empty() && !actual.ends_with('\n') {
            actual.push('\n');
        }
        let (expected, actual) = (without_log(&directive.expected), without_log(&actual));
        assert!(
            expected == actual,
            "{}: {} {}\n--- expected\n{expected}--- found\n{actual}",
            directive.place,
            directive.command,
            directive.input
        );
    }
}

/// Says where a script was when something panicked.
struct Named<'a>(&'a str);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("at {}", self.0);
        }
    }
}

/// The reference's log text is not compared. A command that says nothing else says `ok`.
fn without_log(text: &str) -> String {
    let is_log = |line: &&str| {
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"].contains(&word)
    };
    let kept: String =
        text.lines().filter(|line| !is_log(line)).map(|l| format!("{l}\n")).collect();
    if kept.is_empty() && !text.is_empty() { "ok\n".into() } else { kept }
}

fn parse(file: &str, text: &str) -> Vec<Directive> {
    let mut lines = text.lines().zip(1..);
    let mut directives = Vec::new();
    while let Some((first, number)) = lines.next() {
        let mut line = first.trim().to_owned();
        if line.starts_with('#') {
            continue;
        }
        while line.ends_with('\\') {
            let Some((next, _)) = lines.next() else { break };
            line = format!("{} {}", line.trim_end_matches('\\'), next.trim());
        }
        let (command, args) = parse_line(&line);
        if command.is_empty() || command == "subtest" {
            continue;
        }
        let mut input = String::new();
        let mut expected = String::new();
        while let Some((line, _)) = lines.next() {
            if line == "----" {
                expected = parse_expected(&mut lines.by_ref().map(|(line, _)| line));
                break;
            }
            input = input + line + "\n";
        }
        let (place, input) = (format!("{file}:{number}"), input.trim().to_owned());
        directives.push(Directive { place, command, args, input, expected });
    }
    directives
}

fn parse_expected<'a>(lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut expected = String::new();
    let mut next = lines.next();
    if next != Some("----") {
        while let Some(line) = next.filter(|line| !line.trim().is_empty()) {
            expected = expected + line + "\n";
            next = lines.next();
        }
        return expected;
    }
    let mut previous = "";
    for line in lines {
        if (previous, line) == ("----", "----") {
            return expected.trim_end_matches("----\n").to_owned();
        }
        expected = expected + line + "\n";
        previous = line;
    }
    expected
}

fn parse_line(line: &str) -> (String, Vec<Arg>) {
    let (command, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut args = Vec::new();
    loop {
        rest = rest.trim();
        if rest.is_empty() {
            return (command.to_owned(), args);
        }
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (key, behind) = rest.split_at(end);
        let (values, behind) = match behind.strip_prefix('=') {
            None => (Vec::new(), behind),
            Some(list) if list.starts_with('(') => split_list(list),
            Some(value) => {
                let end = value.find(' ').unwrap_or(value.len());
                (vec![value[..end].to_owned()], &value[end..])
            }
        };
        args.push(Arg { key: key.to_owned(), values });
        rest = behind;
    }
}

/// Values between parentheses, which may hold parentheses again.
fn split_list(text: &str) -> (Vec<String>, &str) {
    let (mut values, mut depth, mut value) = (Vec::new(), 0, String::new());
    for (place, one) in text.char_indices() {
        match one {
            '(' if depth == 0 => {}
            ',' if depth == 1 => values.push(std::mem::take(&mut value)),
            ')' if depth == 1 => {
                values.push(value);
                return (values, &text[place + 1..]);
            }
            ' ' if value.is_empty() && !values.is_empty() => {}
            one => value.push(one),
        }
        depth += i32::from(one == '(') - i32::from(one == ')');
    }
    panic!("{text} is not closed");
}

/// Changes as the scripts write them; see [`raft::describe::conf_changes`].
pub(crate) fn changes(input: &str) -> Result<Vec<ConfChangeSingle>, String> {
    input.split(' ').filter(|token| !token.is_empty()).map(change).collect()
}

fn change(token: &str) -> Result<ConfChangeSingle, String> {
    if token.len() < 2 {
        return Err(format!("unknown token {token}"));
    }
    let (letter, id) = token.split_at(1);
    let kind = match letter {
        "v" => ConfChangeType::ConfChangeAddNode,
        "l" => ConfChangeType::ConfChangeAddLearnerNode,
        "r" => ConfChangeType::ConfChangeRemoveNode,
        "u" => ConfChangeType::ConfChangeUpdateNode,
        _ => return Err(format!("unknown input: {token}")),
    };
    let wrong = |_| format!("strconv.ParseUint: parsing {id:?}: invalid syntax");
    let id = id.parse().map_err(wrong)?;
    Ok(ConfChangeSingle { r#type: Some(kind as i32), node_id: Some(id) })
}
