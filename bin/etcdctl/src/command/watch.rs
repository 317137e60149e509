//! `watch`: one, or several that are typed while they run.

use super::txn::Lines;
use super::{Context, reach};
use crate::args::{self, Watch};
use crate::exit::Exit;
use crate::output::{Output, print, quoted_type};
use crate::{go, line};
use clap::Parser;
use client::{Client, Deadline, WatchAnswer, prefix_end};
use proto::etcdserverpb::WatchCreateRequest;
use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use tokio::process::Command;
use tokio::sync::mpsc;

const BAD_NUMBER: &str = "bad number of arguments";
const CONFLICT: &str = "bad number of arguments (found conflicting environment key)";
const SEPARATOR: &str = "bad number of arguments (found separator --, but no commands)";
/// The call, as it is told of where no server is there.
const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// Lines typed and not looked at yet.
const LINES_MAX: usize = 16;

/// What one watch is to do.
struct Task {
    create: WatchCreateRequest,
    exec: Vec<OsString>,
}

/// An interactive line.
#[derive(Debug, Parser)]
#[command(name = "watch")]
struct Line {
    #[command(flatten)]
    watch: Watch,
}

pub(super) async fn watch(context: &Context, watch: Watch) -> Result<(), Exit> {
    let (key, end) = (variable("ETCDCTL_WATCH_KEY"), variable("ETCDCTL_WATCH_RANGE_END"));
    if key.is_none() && end.is_some() {
        let end = go::quote(&end.unwrap_or_default().into_vec());
        let text = "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END";
        return Err(Exit::args(format!("{text}={end}")));
    }
    let named: Vec<OsString> = key.into_iter().chain(end).collect();
    if watch.interactive {
        return interactive(context, &named).await;
    }
    if env::args_os().next_back().is_some_and(|last| last == "--") {
        return Err(Exit::args(SEPARATOR));
    }
    let task = task(watch, &named).map_err(Exit::args)?;
    show(&context.client().await?, task, context.output, &mut mpsc::channel(1).1).await?;
    Err(Exit::interrupted("watch is canceled by the server"))
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// What a watch is to do, from its arguments or the environment's key and end.
fn task(watch: Watch, named: &[OsString]) -> Result<Task, String> {
    let keys = match (watch.args.is_empty(), named.is_empty()) {
        (false, true) => watch.args,
        (true, false) => named.to_vec(),
        (true, true) => return Err(BAD_NUMBER.to_owned()),
        (false, false) => return Err(CONFLICT.to_owned()),
    };
    let mut keys = keys.into_iter().map(OsString::into_vec);
    let key = keys.next().unwrap_or_default();
    let range_end = match keys.next() {
        Some(_) if watch.prefix => {
            return Err("`range_end` and `--prefix` are mutually exclusive".to_owned());
        }
        Some(end) => end,
        None if watch.prefix => prefix_end(&key),
        None => Vec::new(),
    };
    if keys.next().is_some() {
        return Err(BAD_NUMBER.to_owned());
    }
    // A watch of everything begins at the first key there can be.
    let key = if key.is_empty() && !range_end.is_empty() { vec![0] } else { key };
    let create = WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision: watch.rev,
        prev_kv: watch.prev_kv,
        progress_notify: watch.progress_notify,
        ..WatchCreateRequest::default()
    };
    Ok(Task { create, exec: watch.exec })
}

/// Shows what a watch brings until it is over. Progress is asked for when `asked` says so.
async fn show(
    client: &Client,
    task: Task,
    output: Output,
    asked: &mut mpsc::Receiver<()>,
) -> Result<(), Exit> {
    // A watch that has run waits for its servers however long that takes; one that finds none does not.
    reach(client, WATCH).await?;
    let mut watch = client.watch(task.create, true, Deadline::NONE).await?;
    let handle = watch.handle();
    loop {
        let answer = tokio::select! {
            answer = watch.next() => answer,
            Some(()) = asked.recv() => {
                handle.request_progress();
                continue;
            }
        };
        let Some(answer) = answer else { return Ok(()) };
        if let Some(reason) = answer.reason() {
            // The exit code tells of it too.
            let _ = writeln!(std::io::stderr(), "watch was canceled ({reason})");
        }
        if answer.is_progress() {
            let revision = answer.response.header.as_ref().map_or(0, |header| header.revision);
            print(format!("progress notify: {revision}\n"))?;
        }
        output.show(&answer)?;
        execute(&task.exec, &answer).await?;
    }
}

/// Runs a command for every event.
async fn execute(exec: &[OsString], answer: &WatchAnswer) -> Result<(), Exit> {
    let [program, arguments @ ..] = exec else { return Ok(()) };
    let revision = answer.response.header.as_ref().map_or(0, |header| header.revision);
    for event in &answer.response.events {
        let kv = event.kv.clone().unwrap_or_default();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("ETCD_WATCH_REVISION", revision.to_string())
            .env("ETCD_WATCH_EVENT_TYPE", quoted_type(event))
            .env("ETCD_WATCH_KEY", go::quote(&kv.key))
            .env("ETCD_WATCH_VALUE", go::quote(&kv.value));
        let reason = match command.status().await {
            Ok(status) if status.success() => continue,
            Ok(status) => match status.code() {
                Some(code) => format!("exit status {code}"),
                None => status.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let words = exec.iter().map(|word| go::quote(word.as_encoded_bytes()));
        let words = words.collect::<Vec<_>>().join(" ");
        // The exit code tells of it too.
        let _ = writeln!(std::io::stderr(), "command [{words}] error ({reason})");
        return Err(Exit::silent());
    }
    Ok(())
}

/// Takes lines until there are no more: `watch` begins one, `progress` asks all of them.
async fn interactive(context: &Context, named: &[OsString]) -> Result<(), Exit> {
    let client = context.client().await?;
    let (sender, mut typed) = mpsc::channel(LINES_MAX);
    let lines = Lines::new()?;
    std::thread::spawn(move || read(lines, &sender));
    let (failures, mut failed) = mpsc::channel(1);
    let mut watches: Vec<mpsc::Sender<()>> = Vec::new();
    loop {
        let text = tokio::select! {
            typed = typed.recv() => match typed {
                Some(Ok(text)) => text,
                Some(Err(error)) => {
                    return Err(Exit::input(format!("error reading watch request line: {error}")));
                }
                None => return Ok(()),
            },
            Some(exit) = failed.recv() => return Err(exit),
        };
        match understand(&text, named) {
            Ok(Request::Watch(task)) => {
                let (ask, mut asked) = mpsc::channel(1);
                watches.push(ask);
                let (client, output, failures) = (client.clone(), context.output, failures.clone());
                tokio::spawn(async move {
                    if let Err(exit) = show(&client, task, output, &mut asked).await {
                        // One failure is enough to end the program.
                        let _ = failures.try_send(exit);
                    }
                });
            }
            Ok(Request::Progress) => {
                watches.retain(|watch| !watch.is_closed());
                for watch in &watches {
                    // A request that waits already asks the same.
                    let _ = watch.try_send(());
                }
            }
            Err(Misunderstood::Line(reason)) => {
                // The person at the terminal goes on anyway.
                let _ = writeln!(std::io::stderr(), "{reason}");
            }
            Err(Misunderstood::Arguments(reason)) => return Err(Exit::args(reason)),
        }
    }
}

/// Reads lines on a thread of its own, which ends with the program.
fn read(mut lines: Lines, sender: &mpsc::Sender<Result<Vec<u8>, String>>) {
    loop {
        let line = lines.next();
        let last = line.is_err();
        if sender.blocking_send(line).is_err() || last {
            return;
        }
    }
}

enum Request {
    Watch(Task),
    Progress,
}

enum Misunderstood {
    /// The line is skipped.
    Line(String),
    /// The program ends.
    Arguments(String),
}

fn understand(typed: &[u8], named: &[OsString]) -> Result<Request, Misunderstood> {
    let words = line::words(typed).map_err(Misunderstood::Line)?;
    let text = String::from_utf8_lossy(typed);
    let Some((first, rest)) = words.split_first() else {
        let text = format!("Invalid command: {text} (watch and progress supported)");
        return Err(Misunderstood::Line(text));
    };
    if first == "progress" {
        return Ok(Request::Progress);
    }
    if first != "watch" {
        let text = format!("Invalid command {text} (only support watch)");
        return Err(Misunderstood::Line(text));
    }
    if rest.is_empty() && named.is_empty() {
        let text = format!("Invalid command {text} (command type or key is not provided)");
        return Err(Misunderstood::Line(text));
    }
    if rest.last().is_some_and(|last| last == "--") {
        return Err(Misunderstood::Arguments(SEPARATOR.to_owned()));
    }
    let line: Line = args::parse_line(rest.to_vec()).map_err(Misunderstood::Arguments)?;
    let mutual = |reason: String| match reason.starts_with('`') {
        true => Misunderstood::Line(format!("Invalid command {text} ({reason})")),
        false => Misunderstood::Arguments(reason),
    };
    task(line.watch, named).map(Request::Watch).map_err(mutual)
}
