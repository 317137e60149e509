//! Command lines as the reference reads them, and refuses them.

use crate::exit::Exit;
use crate::go;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
};
use std::ffi::OsString;

/// A whole command line: flags that every command has, and a command. Without a name; see [`program`].
#[derive(Debug, Parser)]
#[command(infer_subcommands = true, disable_version_flag = true)]
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
    I::command().name(name).about(about)
}

/// Reads a command line with the reference's habits. Where help was asked for it is printed, and
/// the program ends.
///
/// # Errors
/// What is wrong with the line, with the usage.
pub fn matches(
    command: Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, Exit> {
    let mut command = like_the_reference(command);
    command.try_get_matches_from_mut(words).map_err(|error| refuse(&mut command, &error))
}

/// Reads a line that holds one of a few commands, with the same habits as [`matches()`].
///
/// # Errors
/// What is wrong with it.
pub fn parse_line<C: CommandFactory + FromArgMatches>(words: Vec<OsString>) -> Result<C, String> {
    let command = like_the_reference(C::command()).no_binary_name(true);
    let name = command.get_name().to_owned();
    let describe = |error: clap::Error| describe(&name, &error);
    let matches = command.try_get_matches_from(words).map_err(describe)?;
    C::from_arg_matches(&matches).map_err(describe)
}

/// The reference's habits: a flag may be repeated, and the last counts; a switch may be given a
/// value after `=`; any other flag takes the next word, even one that looks like a flag.
pub fn like_the_reference(command: Command) -> Command {
    let command = command.args_override_self(true).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => switch(arg),
        _ if is_plain(&arg) => arg.allow_hyphen_values(true),
        _ => arg,
    });
    command.mut_subcommands(like_the_reference)
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

fn refuse(command: &mut Command, error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Help that nobody reads needs no error.
        let _ = error.print();
        std::process::exit(0);
    }
    let name = command.get_name().to_owned();
    let text = describe(&name, error);
    if error.kind() == ErrorKind::InvalidSubcommand {
        return Exit::usage(text, format!("Run '{name} --help' for usage."));
    }
    Exit::usage(text, command.render_usage().to_string())
}

fn is_short(word: &str) -> bool {
    word.len() == 2 && word.starts_with('-') && word != "--"
}

/// One line about what is wrong, in the reference's words.
fn describe(program: &str, error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let arg = text(ContextKind::InvalidArg);
    let name = arg.split([' ', '=', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with("--") => format!("unknown flag: {name}"),
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let letter = name.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {name}")
        }
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand);
            format!("unknown command {} for \"{program}\"", go::quote(name.as_bytes()))
        }
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => {
            match last_word().filter(|last| is_short(last)) {
                Some(last) => format!("flag needs an argument: '{}' in {last}", &last[1..]),
                None => format!("flag needs an argument: {name}"),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = go::quote(text(ContextKind::InvalidValue).as_bytes());
            let source = std::error::Error::source(error).map(ToString::to_string);
            let reason = source.unwrap_or_else(|| "invalid value".into());
            format!("invalid argument {value} for \"{name}\" flag: {reason}")
        }
        _ => error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
    }
}

/// The last word of the program's own command line, which may hold any bytes.
fn last_word() -> Option<String> {
    std::env::args_os().next_back().map(|last| last.to_string_lossy().into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(name = "tool")]
    struct Line {
        #[arg(long, default_value = "0", value_parser = go::parse_int)]
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
}
