//! Command lines as the reference reads them, and refuses them.

use crate::exit::Exit;
use crate::find::{self, Unknown, find, typed};
use crate::go;
use crate::secret::{flag_shown, shown};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
};
use std::ffi::OsString;
use std::io::Write;

/// What stands in place of what may be a secret.
const HIDDEN: &str = crate::secret::HIDDEN;

/// A whole command line: flags that every command has, and a command. Without a name; see [`program`].
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
pub struct Invocation<G: Args, C: Subcommand> {
    /// The flags of every command.
    #[command(flatten)]
    pub global: G,
    /// The command, if one was given.
    #[command(subcommand)]
    pub command: Option<C>,
}

/// What a program of this name, which does this, may be called with.
pub fn program<I: CommandFactory>(name: &'static str, about: &'static str) -> Command {
    let help = Command::new(HELP).about("Help about any command");
    I::command().name(name).about(about).disable_help_subcommand(true).subcommand(help)
}

/// A command that the reference has and this program has not, so that names which could mean either are
/// refused alike.
pub fn absent(name: &'static str) -> Command {
    Command::new(name).hide(true)
}

/// Reads a command line with the reference's habits. Where help was asked for, or a group of commands
/// stands alone, help is printed and the program ends.
///
/// # Errors
/// What is wrong with the line, with the usage.
pub fn matches(
    command: Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, Exit> {
    let mut command = like_the_reference(command);
    command.build();
    let words: Vec<OsString> = words.into_iter().skip(1).collect();
    let name = command.get_name().to_owned();
    let (command, path, rest) = match find(&command, &words) {
        Ok(meant) if meant.path.first().is_some_and(|first| first == HELP) => {
            help_about(&mut command, &meant.rest)
        }
        Ok(meant) => (command, meant.path, meant.rest),
        Err(unknown) => return Err(unknown_command(&name, unknown)),
    };
    let mut command = command;
    let (rest, asks_help) = match find::help(innermost_command(&mut command, &path), &rest) {
        Ok((rest, asks_help)) => (rest, asks_help),
        Err(value) => {
            let usage = innermost_command(&mut command, &path).render_usage().to_string();
            let reason = go::parse_bool(&value).err().unwrap_or_default();
            return Err(Exit::usage(invalid_argument(&value, "-h, --help", &reason), usage));
        }
    };
    let is_group = innermost_command(&mut command, &path).has_subcommands();
    let rest = match is_group {
        true => find::flags(innermost_command(&mut command, &path), &rest),
        false => rest,
    };
    // What is wrong with the line comes first.
    let wants_help = is_group || asks_help;
    let line = [name].into_iter().chain(path.iter().cloned()).map(OsString::from);
    let matched = command.try_get_matches_from_mut(line.chain(rest.iter().cloned()));
    match matched {
        Err(error) if wants_help && is_about_missing(&error) => {
            print_help(innermost_command(&mut command, &path))
        }
        Ok(_) if wants_help => print_help(innermost_command(&mut command, &path)),
        Ok(matches) => Ok(matches),
        Err(error) => Err(refuse(innermost_command(&mut command, &path), &error, &rest)),
    }
}

/// The command that explains others.
const HELP: &str = "help";

/// Whether a group was given no command, which is a question for help.
fn is_about_missing(error: &clap::Error) -> bool {
    use ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument};
    let missing = [
        ErrorKind::MissingSubcommand,
        DisplayHelpOnMissingArgumentOrSubcommand,
        MissingRequiredArgument,
    ];
    missing.contains(&error.kind())
}

fn innermost_command<'c>(command: &'c mut Command, path: &[String]) -> &'c mut Command {
    path.iter().fold(command, |command, name| {
        command.find_subcommand_mut(name).expect("the path was just found in the command")
    })
}

/// `help` and what comes after it.
fn help_about(command: &mut Command, words: &[OsString]) -> ! {
    match find(command, words) {
        Ok(meant) => print_help(innermost_command(command, &meant.path)),
        Err(_) => {
            let words: Vec<_> = words.iter().map(|word| shown(&word.to_string_lossy())).collect();
            let text = format!("Unknown help topic [`{}`]", words.join("` `"));
            // Help that nobody reads needs no error.
            let _ = writeln!(std::io::stderr(), "{text}\n{}", command.render_usage());
            std::process::exit(0)
        }
    }
}

fn print_help(command: &mut Command) -> ! {
    // Help that nobody reads needs no error.
    let _ = command.print_help();
    std::process::exit(0)
}

fn unknown_command(program: &str, unknown: Unknown) -> Exit {
    let word = go::quote(shown(&unknown.word).as_bytes());
    let near: String = unknown.near.iter().map(|name| format!("\t{name}\n")).collect();
    let near = if near.is_empty() { near } else { format!("\n\nDid you mean this?\n{near}") };
    let text = format!("unknown command {word} for \"{program}\"{near}");
    Exit::usage(text, format!("Run '{program} --help' for usage."))
}

/// Reads a line that holds one of a few commands, with the same habits as [`matches()`].
///
/// # Errors
/// What is wrong with it.
pub fn parse_line<C: CommandFactory + FromArgMatches>(words: Vec<OsString>) -> Result<C, String> {
    let mut command = like_the_reference(C::command()).no_binary_name(true);
    command.build();
    let describe = |error: clap::Error| describe(&error, &words);
    let line = match find(&command, &words) {
        Ok(meant) => meant.path.into_iter().map(OsString::from).chain(meant.rest).collect(),
        Err(_) => words.clone(),
    };
    let line: Vec<OsString> = line;
    let matches = command.try_get_matches_from(line).map_err(describe)?;
    C::from_arg_matches(&matches).map_err(describe)
}

/// The reference's habits: a flag may be repeated, and the last counts; a switch may be given a
/// value after `=`; any other flag takes the next word, even one that looks like a flag; a command
/// without arguments takes some and passes over them; no variable's value is shown.
pub fn like_the_reference(command: Command) -> Command {
    let command = command.disable_help_subcommand(true).mut_args(|arg| arg.hide_env_values(true));
    let takes_none = !command.has_subcommands() && command.get_positionals().next().is_none();
    let command = match takes_none {
        true => command.arg(ignored()),
        false => command,
    };
    let command = command.args_override_self(true).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => switch(arg),
        _ if is_plain(&arg) => arg.allow_hyphen_values(true),
        _ => arg,
    });
    command.mut_subcommands(like_the_reference)
}

/// Arguments that a command does not look at.
fn ignored() -> Arg {
    Arg::new("ignored").num_args(0..).hide(true).value_parser(clap::value_parser!(OsString))
}

/// Whether a flag always has a value.
fn is_plain(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.is_require_equals_set() && arg.get_action().takes_values()
}

fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_parser(go::parse_bool)
}

/// What was matched of the command that is meant, not of those above it.
pub fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

fn refuse(command: &mut Command, error: &clap::Error, words: &[OsString]) -> Exit {
    if !error.use_stderr() {
        // Help that nobody reads needs no error.
        let _ = error.print();
        std::process::exit(0);
    }
    Exit::usage(describe(error, words), command.render_usage().to_string())
}

/// A flag as it was typed, behind two dashes.
fn is_bad(word: &str) -> bool {
    word.len() > 2 && (word.starts_with("---") || word.starts_with("--="))
}

fn is_short(word: &str) -> bool {
    word.len() == 2 && word.starts_with('-') && word != "--"
}

/// One line about what is wrong with these words, in the reference's words.
fn describe(error: &clap::Error, words: &[OsString]) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let arg = text(ContextKind::InvalidArg);
    let name = arg.split([' ', '=', '[']).next().unwrap_or_default();
    if let Some(bad) = typed(words, is_bad).filter(|_| error.kind() == ErrorKind::UnknownArgument) {
        return format!("bad flag syntax: {}", flag_shown(&bad.to_string_lossy()));
    }
    match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with("--") => {
            format!("unknown flag: {}", flag_shown(name))
        }
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let letter = name.chars().nth(1).unwrap_or('-');
            let holds = |word: &str| {
                let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
                letters.is_some_and(|letters| letters.contains(letter) || letters.starts_with('='))
            };
            let word = typed(words, holds).map_or(name.into(), |word| word.to_string_lossy());
            let letter = if word.starts_with("-=") { '=' } else { letter };
            // What follows a letter may be the value that was meant for it.
            let known = word.find(letter).map_or(0, |at| at + letter.len_utf8());
            let hidden = if known < word.len() { HIDDEN } else { "" };
            format!("unknown shorthand flag: '{letter}' in {}{hidden}", &word[..known])
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => {
            match words.last().map(|last| last.to_string_lossy()).filter(|last| is_short(last)) {
                Some(last) => format!("flag needs an argument: '{}' in {last}", &last[1..]),
                None => format!("flag needs an argument: {name}"),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            let reason = source.unwrap_or_else(|| "invalid value".into());
            invalid_argument(&text(ContextKind::InvalidValue), name, &reason)
        }
        ErrorKind::InvalidUtf8 => format!("{} is not valid UTF-8", find::not_text(words)),
        _ => error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
    }
}

/// The refusal of a flag's value, for a reason that may quote it.
fn invalid_argument(value: &str, flag: &str, reason: &str) -> String {
    let (quoted, hidden) = (go::quote(value.as_bytes()), go::quote(shown(value).as_bytes()));
    // Reasons that quote the value do so in one way or the other.
    let reason = reason.replace(&quoted, &hidden);
    format!("invalid argument {hidden} for \"{flag}\" flag: {reason}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::os::unix::ffi::OsStringExt;

    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Line {
        #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
        rev: i64,
        #[arg(long)]
        prefix: bool,
        args: Vec<OsString>,
    }

    fn line(text: &str) -> Result<Line, String> {
        let words = text.split_whitespace();
        let matches = matches(Line::command(), ["tool"].into_iter().chain(words).map(Into::into));
        let matches = matches.map_err(|exit| exit.message().to_owned())?;
        Ok(Line::from_arg_matches(&matches).unwrap())
    }

    #[test]
    fn flags_are_read_as_the_reference_reads_them() {
        let read = line("--rev 1 a --prefix=false --rev -2 b --prefix").unwrap();
        assert_eq!((read.rev, read.prefix, read.args.len()), (-2, true, 2));
        assert!(!line("--prefix a --prefix=f").unwrap().prefix);
    }

    #[test]
    fn flags_are_refused_in_the_words_of_the_reference() {
        let syntax = |text| format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
        let refusals = [
            ("--none", "unknown flag: --none".to_owned()),
            ("-z", "unknown shorthand flag: 'z' in -z".to_owned()),
            ("--rev x", format!("invalid argument \"x\" for \"--rev\" flag: {}", syntax("x"))),
            ("--rev -p", format!("invalid argument \"-p\" for \"--rev\" flag: {}", syntax("-p"))),
        ];
        for (text, refusal) in refusals {
            assert_eq!(line(text).unwrap_err(), refusal);
        }
    }

    #[test]
    fn refusals_show_no_secret() {
        for text in [
            "--user:root:s3cret",
            "--pasword=s3cret",
            "---password=s3cret",
            "--=root:s3cret",
            "-=root:s3cret",
            "-uroot:s3cret",
            "-ps3cret",
            "--rev root:s3cret",
            "--rev=http://root:s3cret@a",
            "--rev=root:1/s3cret@a",
            "--prefix=root:s3cret",
            "--help=root:s3cret",
            "-h=root:s3cret",
        ] {
            let refusal = line(text).unwrap_err();
            assert!(!refusal.contains("s3cret"), "{text}: {refusal}");
        }
        assert_eq!(line("--user:root:pw").unwrap_err(), "unknown flag: --user:xxxxx");
        assert_eq!(line("-zx").unwrap_err(), "unknown shorthand flag: 'z' in -zxxxxx");
    }

    #[test]
    fn help_is_a_switch() {
        assert_eq!(line("--help=false a --rev 3 -h=0").unwrap().rev, 3);
        assert_eq!(line("--help --help=false a").unwrap().args, ["a"]);
        assert_eq!(line("-- --help=false").unwrap().args, ["--help=false"]);
        let refusal = line("--help=x").unwrap_err();
        let reason = "strconv.ParseBool: parsing \"x\": invalid syntax";
        assert_eq!(refusal, format!("invalid argument \"x\" for \"-h, --help\" flag: {reason}"));
    }

    #[test]
    fn what_must_be_text_is_named_when_it_is_none() {
        let odd = |before: &str| OsString::from_vec([before.as_bytes(), b"\xe9"].concat());
        let lines = [
            (vec![odd("--rev=")], "the value of --rev is not valid UTF-8"),
            (vec!["--rev".into(), odd("")], "the value of --rev is not valid UTF-8"),
        ];
        for (words, refusal) in lines {
            let words = std::iter::once("tool".into()).chain(words);
            let exit = matches(Line::command(), words).unwrap_err();
            assert_eq!(exit.message(), refusal);
        }
    }
}
