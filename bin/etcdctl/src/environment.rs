//! `ETCDCTL_` variables, which stand for flags that are not on the command line
//! (reference: `pkg/flags/flag.go`).

use crate::log;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use cli::exit::Exit;
use std::ffi::OsString;

const PREFIX: &str = "ETCDCTL_";
/// Variables that are no flags.
const NO_FLAGS: [&str; 2] = ["ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"];

/// The variables as flags, `--name=value`. One that is not known, or empty, is warned of; one whose value
/// cannot be used is passed over, but for a switch, which is then off, as with the reference's.
///
/// # Errors
/// A flag is in `matches` and in the environment, which is said here; or what must be text is none.
pub(crate) fn flags(
    program: &Command,
    matches: &ArgMatches,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<OsString>, Exit> {
    let mut flags = Vec::new();
    for (variable, value) in variables {
        let name = variable.to_string_lossy();
        if !name.starts_with(PREFIX) || NO_FLAGS.contains(&name.as_ref()) {
            continue;
        }
        let arg = program.get_arguments().find(|arg| arg.get_env() == Some(&*variable));
        let Some(arg) = arg else {
            log::unknown_variable(&name);
            continue;
        };
        if matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine) {
            log::shadowed_variable(&name);
            return Err(Exit::silent());
        }
        if value.is_empty() {
            log::unknown_variable(&name);
        } else {
            flags.extend(flag(arg, &name, value)?);
        }
    }
    Ok(flags)
}

/// A variable as a flag, if its value can be used.
fn flag(arg: &Arg, variable: &str, value: OsString) -> Result<Option<OsString>, Exit> {
    let word = |value: OsString| {
        let mut word = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
        word.push(value);
        word
    };
    let given = word(value);
    match alone(arg).try_get_matches_from([&given]) {
        Ok(_) => Ok(Some(given)),
        Err(_) if is_switch(arg) => Ok(Some(word("false".into()))),
        Err(error) if error.kind() == ErrorKind::InvalidUtf8 && takes_any_text(arg) => {
            Err(Exit::args(format!("the value of {variable} is not valid UTF-8")))
        }
        Err(_) => Ok(None),
    }
}

/// A command with this flag and nothing else.
fn alone(arg: &Arg) -> Command {
    let command = Command::new("flag").no_binary_name(true).arg(arg.clone().env(None::<&str>));
    cli::args::like_the_reference(command)
}

/// Whether a value can only be wrong for being no text.
fn takes_any_text(arg: &Arg) -> bool {
    let word = format!("--{}=any", arg.get_long().unwrap_or_default());
    alone(arg).try_get_matches_from([word]).is_ok()
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue) || arg.is_require_equals_set()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::args::program;
    use std::os::unix::ffi::OsStringExt;

    fn read(line: &str, variables: &[(&str, &[u8])]) -> Result<Vec<OsString>, String> {
        let words = line.split_whitespace().map(OsString::from);
        let bare = program().mut_args(|arg| arg.env(None::<&str>));
        let matches = cli::args::matches(bare, words).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from_vec(value.to_vec())));
        let flags = flags(&program(), cli::args::innermost(&matches), variables);
        flags.map_err(|exit| exit.message().to_owned())
    }

    #[test]
    fn variables_are_flags_that_are_not_on_the_line() {
        let found = read(
            "etcdctl get a --hex",
            &[("ETCDCTL_WRITE_OUT", b"json"), ("ETCDCTL_COMMAND_TIMEOUT", b"1s"), ("HOME", b"/x")],
        );
        assert_eq!(found.unwrap(), ["--write-out=json", "--command-timeout=1s"]);
        assert!(read("etcdctl get a --hex", &[("ETCDCTL_HEX", b"true")]).is_err());
    }

    #[test]
    fn what_cannot_be_used_is_passed_over_and_switches_are_off() {
        let found = read(
            "etcdctl get a",
            &[
                ("ETCDCTL_COMMAND_TIMEOUT", b"x"),
                ("ETCDCTL_MAX_RECV_BYTES", b"x"),
                ("ETCDCTL_HEX", b""),
                ("ETCDCTL_BOGUS", b"1"),
                ("ETCDCTL_INSECURE_TRANSPORT", b"x"),
                ("ETCDCTL_DEBUG", b"\xe9"),
            ],
        );
        assert_eq!(found.unwrap(), ["--insecure-transport=false", "--debug=false"]);
    }

    #[test]
    fn paths_hold_any_bytes_and_text_is_text() {
        let found = read("etcdctl get a", &[("ETCDCTL_CERT", b"/x\xe9")]).unwrap();
        assert_eq!(found, [OsString::from_vec(b"--cert=/x\xe9".to_vec())]);
        for name in ["ETCDCTL_USER", "ETCDCTL_ENDPOINTS"] {
            let refusal = read("etcdctl get a", &[(name, b"s3cret\xe9")]).unwrap_err();
            assert_eq!(refusal, format!("the value of {name} is not valid UTF-8"));
        }
    }
}
