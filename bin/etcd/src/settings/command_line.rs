//! Flags, by Go's rules: one dash or two, a value behind `=` or in the next word, switches without;
//! the first word that is no flag ends them. clap knows the flags, their help and what a mistyped one
//! may have meant.

use super::file::UnknownKeys;
use super::notes::Note;
use super::rows::{self, ROWS, Row, variable_of};
use super::values::{Setting, refused};
use super::variables::Variables;
use super::{Refusal, Settings, earlier};
use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

const CONFIG_FILE: &str = "config-file";
/// The switch that lets keys of the file pass that nobody knows. It is ours alone.
pub(super) const UNKNOWN_KEYS: &str = "config-file-ignore-unknown-keys";
const VERSION: &str = "version";
const HELP: &str = "help";
/// The programs that etcd can be besides a server.
const OTHER_PROGRAMS: [&str; 2] = ["gateway", "grpc-proxy"];

/// What the flags ask for.
#[derive(Debug)]
pub(super) enum Asked {
    Run(Box<CommandLine>),
    Print(String),
}

/// What the flags say.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    pub(super) settings: Settings,
    pub(super) notes: Vec<Note>,
    /// The flags that were given.
    pub(super) given: BTreeSet<&'static str>,
    pub(super) special: Special,
}

/// Flags about the configuration file itself; they count together with it.
#[derive(Debug, Default)]
pub(super) struct Special {
    file: PathBuf,
    ignores_unknown_keys: bool,
}

impl Special {
    /// The configuration file, from the flag or else the variable.
    pub(super) fn file_or(&self, variables: &Variables) -> Option<PathBuf> {
        let named = || variables.get(&variable_of(CONFIG_FILE)).map(PathBuf::from);
        Some(self.file.clone()).filter(|file| !file.as_os_str().is_empty()).or_else(named)
    }

    /// What becomes of keys that nobody knows, by the flag or else the variable.
    ///
    /// # Errors
    /// A variable that is no boolean.
    pub(super) fn unknown_keys(&self, variables: &Variables) -> Result<UnknownKeys, Refusal> {
        let mut passes = self.ignores_unknown_keys;
        let variable = variable_of(UNKNOWN_KEYS);
        if let Some(value) = variables.get(&variable).filter(|_| !passes) {
            passes.set_text(value).map_err(|reason| {
                let (value, reason) = refused(&mut false, value, reason);
                Refusal::Verify(format!("invalid value {value} for {variable}: {reason}"))
            })?;
        }
        Ok(if passes { UnknownKeys::PassedOver } else { UnknownKeys::Refused })
    }
}

/// Whether it is a flag that has no row.
pub(super) fn is_special(name: &str) -> bool {
    [CONFIG_FILE, UNKNOWN_KEYS, VERSION, HELP].iter().any(|flag| flag.eq_ignore_ascii_case(name))
}

/// The variables of flags that have no row.
pub(super) fn special_variables() -> impl Iterator<Item = String> {
    [CONFIG_FILE, UNKNOWN_KEYS].into_iter().map(variable_of)
}

/// Reads the words behind the program's name.
///
/// # Errors
/// Wrong flags, and words that are none.
pub(super) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Asked, Refusal> {
    let words = Words::split(args);
    let flags = std::iter::once(OsString::from("etcd")).chain(words.flags);
    let matches = match command().try_get_matches_from(flags) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(Asked::Print(error.to_string()));
        }
        Err(error) => return Err(Refusal::Usage(explain(&error))),
    };
    match words.end {
        End::Flags => {}
        End::BadSyntax(flag) => {
            let flag = flag.to_string_lossy().into_owned();
            return Err(Refusal::Usage(format!("bad flag syntax: {flag}")));
        }
        End::Word(word) => return Err(Refusal::Verify(no_flag(&word))),
    }
    let mut line = CommandLine::default();
    let mut wants_version = false;
    for value in values(&matches, VERSION) {
        wants_version.set_text(value).map_err(Refusal::Verify)?;
    }
    if wants_version {
        return Ok(Asked::Print(version_text()));
    }
    for value in values(&matches, CONFIG_FILE) {
        line.special.file = PathBuf::from(value);
    }
    for value in values(&matches, UNKNOWN_KEYS) {
        line.special.ignores_unknown_keys.set_text(value).map_err(Refusal::Verify)?;
    }
    for row in ROWS.iter().filter(|row| !row.name.is_empty()) {
        for value in values(&matches, row.name) {
            line.given.insert(row.name);
            (row.field)(&mut line.settings).set_text(value).map_err(Refusal::Usage)?;
        }
    }
    let given = ROWS.iter().filter(|row| line.given.contains(row.name));
    line.notes = given.filter_map(|row| row.warning(&line.settings)).map(Note::Warning).collect();
    Ok(Asked::Run(Box::new(line)))
}

/// Every value of a flag, in the order in which they were given.
fn values<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a OsString> {
    matches.get_many::<OsString>(name).into_iter().flatten()
}

/// A command line in one form: `--flag` or `--flag=value`, as far as there are flags.
struct Words {
    flags: Vec<OsString>,
    end: End,
}

/// What comes after the flags.
enum End {
    Flags,
    BadSyntax(OsString),
    Word(OsString),
}

impl Words {
    fn split(args: impl IntoIterator<Item = OsString>) -> Words {
        let mut args = args.into_iter();
        let mut flags = Vec::new();
        while let Some(word) = args.next() {
            let bytes = word.as_encoded_bytes();
            if bytes == b"--" {
                let end = args.next().map_or(End::Flags, End::Word);
                return Words { flags, end };
            }
            if bytes.len() < 2 || bytes[0] != b'-' {
                return Words { flags, end: End::Word(word) };
            }
            let dashes = if bytes[1] == b'-' { 2 } else { 1 };
            if matches!(bytes.get(dashes), Some(b'-' | b'=')) {
                return Words { flags, end: End::BadSyntax(word) };
            }
            flags.push(in_one_form(&word, dashes, &mut args));
        }
        Words { flags, end: End::Flags }
    }
}

/// `--flag` or `--flag=value`. The next word is the value of a flag that must have one.
fn in_one_form(word: &OsStr, dashes: usize, rest: &mut impl Iterator<Item = OsString>) -> OsString {
    let bytes = word.as_encoded_bytes();
    let behind = &bytes[dashes..];
    let name = behind.split(|&byte| byte == b'=').next().unwrap_or_default();
    if matches!(name, b"h" | b"help") {
        return "--help".into();
    }
    let mut flag = match dashes {
        2 => word.to_owned(),
        _ => [OsStr::new("-"), word].into_iter().collect(),
    };
    if name.len() == behind.len()
        && std::str::from_utf8(name).is_ok_and(has_value)
        && let Some(value) = rest.next()
    {
        flag.push("=");
        flag.push(value);
    }
    flag
}

/// Whether a flag cannot stand without a value. One that is not known can.
fn has_value(name: &str) -> bool {
    let row = || ROWS.iter().find(|row| row.name == name);
    name == CONFIG_FILE || row().is_some_and(|row| !is_switch(row))
}

fn is_switch(row: &Row) -> bool {
    (row.field)(&mut Settings::default()).is_switch()
}

fn command() -> Command {
    let file = "Path to a configuration file in YAML; other flags and variables are ignored then.";
    let mut command = Command::new("etcd")
        .about("A durable key-value store: etcd's APIs, files and command line.")
        .disable_version_flag(true)
        .disable_help_flag(true)
        .arg(
            Arg::new(HELP)
                .long(HELP)
                .short('h')
                .action(ArgAction::Help)
                .help("Print this and exit."),
        )
        .arg(switch(Arg::new(VERSION).long(VERSION)).help("Print the version and exit."))
        .arg(
            Arg::new(CONFIG_FILE)
                .long(CONFIG_FILE)
                .value_parser(clap::value_parser!(OsString))
                .help(file),
        )
        .arg(
            switch(Arg::new(UNKNOWN_KEYS).long(UNKNOWN_KEYS))
                .help("Pass over keys of that file that nobody knows."),
        );
    let mut defaults = Settings::default();
    for row in ROWS.iter().filter(|row| !row.name.is_empty()) {
        let field = (row.field)(&mut defaults);
        let default = field.show();
        let default = if default.is_empty() { "''".to_owned() } else { default };
        let arg = Arg::new(row.name)
            .long(row.name)
            .help(format!("{} [default: {default}]", row.help).trim_start().to_owned())
            .help_heading(row.section)
            .hide(row.section.is_empty())
            .action(ArgAction::Append)
            .value_parser(Checks(row));
        command = command.arg(if field.is_switch() { optional(arg) } else { arg });
    }
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::Help => arg,
        _ => arg.action(ArgAction::Append),
    })
}

/// A flag of no row that is true where it stands alone.
fn switch(arg: Arg) -> Arg {
    optional(arg).value_parser(ChecksBool)
}

fn optional(arg: Arg) -> Arg {
    arg.num_args(0..=1).require_equals(true).default_missing_value("true")
}

/// Has a row look at each value where it stands, so that the first mistake is told.
#[derive(Clone)]
struct Checks(&'static Row);

impl TypedValueParser for Checks {
    type Value = OsString;

    fn parse_ref(
        &self,
        _: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<OsString, clap::Error> {
        let mut scratch = Settings::default();
        check((self.0.field)(&mut scratch), self.0.name, value)
    }
}

/// The same for a switch of no row.
#[derive(Clone)]
struct ChecksBool;

impl TypedValueParser for ChecksBool {
    type Value = OsString;

    fn parse_ref(
        &self,
        _: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<OsString, clap::Error> {
        let name = arg.map_or("", |arg| arg.get_id().as_str());
        check(&mut false, name, value)
    }
}

fn check(setting: &mut dyn Setting, name: &str, value: &OsStr) -> Result<OsString, clap::Error> {
    let what = if setting.is_switch() { "boolean value" } else { "value" };
    let before = if setting.is_switch() { "" } else { "flag " };
    setting.set_text(value).map(|()| value.to_owned()).map_err(|reason| {
        let (value, reason) = refused(setting, value, reason);
        let text = format!("invalid {what} {value} for {before}-{name}: {reason}");
        clap::Error::raw(ErrorKind::ValueValidation, text)
    })
}

/// What is wrong, in the words of Go's flag package, and what may have been meant.
fn explain(error: &clap::Error) -> String {
    const SEE: &str = "See 'etcd --help'.";
    let text = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let arg = text(ContextKind::InvalidArg);
    let name = arg.trim_start_matches('-').split(['=', ' ', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            // Blanks and brackets may be in it.
            let name = arg.trim_start_matches('-').split('=').next().unwrap_or_default();
            // Whoever wrote a colon for the equals sign may have written a secret behind it.
            let name = name.split(':').next().unwrap_or_default();
            let near = text(ContextKind::SuggestedArg);
            let hint = match (earlier::replacement(name), key_without_flag(name)) {
                (Some(hint), _) => format!("etcd had this flag once: {hint}. "),
                (None, Some(hint)) => format!("{hint} "),
                (None, None) if near.is_empty() => String::new(),
                (None, None) => format!("Did you mean {near}? "),
            };
            format!("flag provided but not defined: -{name}\n{hint}{SEE}")
        }
        ErrorKind::ValueValidation => {
            let text = error.to_string();
            format!("{}\n{SEE}", text.trim_start_matches("error: ").trim_end())
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues => {
            format!("flag needs an argument: -{name}\n{SEE}")
        }
        _ => error.to_string(),
    }
}

/// What to write for a key of the configuration file that was taken for a flag.
fn key_without_flag(name: &str) -> Option<String> {
    let found: Vec<&Row> = rows::by_end_of_key(name).collect();
    if found.is_empty() {
        let section = rows::is_section(name);
        return section.then(|| format!("{name} is a section of the configuration file."));
    }
    let ways = found.iter().map(|row| match row.name {
        "" => format!("{:?} in the configuration file", row.key),
        flag => format!("--{flag}"),
    });
    Some(format!("Did you mean {}?", ways.collect::<Vec<_>>().join(" or ")))
}

fn no_flag(word: &OsStr) -> String {
    let (quoted, _) = refused(&mut String::new(), word, String::new());
    match OTHER_PROGRAMS.iter().any(|program| word == *program) {
        true => format!("{quoted} is not supported by this version, which is a server only"),
        false => format!("{quoted} is not a valid flag"),
    }
}

fn version_text() -> String {
    format!("etcd Version: {}\nHoldfast: {}", proto::VERSION, env!("CARGO_PKG_VERSION"))
}
