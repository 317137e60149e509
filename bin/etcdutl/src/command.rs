//! Which command does what.

use crate::args::{
    Command, Defrag, Global, HashKv, Invocation, Migrate, SnapshotCommand, misused, program,
};
use crate::{defrag, files, hash_kv, migrate, output, restore, status};
use clap_complete::Shell;
use cli::exit::Exit;
use cli::output::{Format, print};
use std::path::{Path, PathBuf};

/// The version that tools of this kind report.
const VERSION: &str = proto::VERSION;
const API_VERSION: &str = "3.7";

/// Runs a command.
///
/// # Errors
/// How it ended, if not well.
pub(crate) fn run(invocation: Invocation) -> Result<(), Exit> {
    let Some(command) = invocation.command else {
        return Ok(program().print_help()?);
    };
    let global = &invocation.global;
    match command {
        Command::Defrag(args) => run_defrag(global, &args),
        Command::Snapshot(args) => match args.command {
            None => help_of("snapshot"),
            Some(SnapshotCommand::Restore(args)) => restore::run(global, args),
            Some(SnapshotCommand::Status { args }) => run_status(global, &args),
        },
        Command::Hashkv(args) => run_hash_kv(global, &args),
        Command::Version(_) => {
            print(format!("etcdutl version: {VERSION}\nAPI version: {API_VERSION}\n"))
        }
        Command::Completion { args } => completion(&args),
        Command::Migrate(args) => run_migrate(global, &args),
    }
}

fn help_of(name: &str) -> Result<(), Exit> {
    let mut command = program();
    command.build();
    Ok(command.find_subcommand_mut(name).map_or(Ok(()), clap::Command::print_help)?)
}

fn run_defrag(global: &Global, args: &Defrag) -> Result<(), Exit> {
    let Some(dir) = args.data_dir.as_deref().map(Path::new) else {
        return Err(misused("defrag", r#"required flag(s) "data-dir" not set"#));
    };
    defrag::defrag(dir, global.timeout).map_err(|why| {
        Exit::error(format!("Failed to defragment etcd data[{}] ({why})", dir.display()))
    })
}

fn run_status(global: &Global, args: &[PathBuf]) -> Result<(), Exit> {
    let [path] = args else {
        return Err(Exit::args("snapshot status requires exactly one argument"));
    };
    files::check_there(path)?;
    let format = Format::named(&global.write_out);
    format.check()?;
    output::show(format, &status::status(path, global.timeout)?)
}

fn run_hash_kv(global: &Global, args: &HashKv) -> Result<(), Exit> {
    let [path] = args.args.as_slice() else {
        return Err(misused("hashkv", count_refused(args.args.len())));
    };
    let format = Format::named(&global.write_out);
    format.check()?;
    files::check_there(path)?;
    output::show(format, &hash_kv::hash_kv(path, args.rev, global.timeout)?)
}

fn run_migrate(global: &Global, args: &Migrate) -> Result<(), Exit> {
    let (dir, target) = match (&args.data_dir, &args.target_version) {
        (Some(dir), Some(target)) => (Path::new(dir), target),
        (dir, target) => {
            let missing = [(dir.is_none(), "data-dir"), (target.is_none(), "target-version")];
            let missing = missing.iter().filter(|(is_missing, _)| *is_missing);
            let names: Vec<_> = missing.map(|(_, name)| format!("{name:?}")).collect();
            let text = format!("required flag(s) {} not set", names.join(", "));
            return Err(misused("migrate", text));
        }
    };
    let target = migrate::parse_target(target).map_err(Exit::args)?;
    migrate::run(dir, target, args.force, global.timeout).map_err(Exit::error)
}

fn completion(args: &[String]) -> Result<(), Exit> {
    let [name] = args else {
        return Err(misused("completion", count_refused(args.len())));
    };
    let shell = match name.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        "powershell" => Shell::PowerShell,
        _ => {
            let name = cli::go::quote(cli::secret::shown(name).as_bytes());
            let text = format!("invalid argument {name} for \"etcdutl completion\"");
            return Err(misused("completion", text));
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program(), "etcdutl", &mut script);
    print(script)
}

fn count_refused(count: usize) -> String {
    format!("accepts 1 arg(s), received {count}")
}
