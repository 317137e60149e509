//! `snapshot save`.

use super::Context;
use crate::args::Snapshot;
use crate::exit::Exit;
use crate::output::print;
use crate::{go, log};
use address::redacted;
use client::{Deadline, SnapshotStream};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::FileType;
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Only the owner may read a database.
const PRIVATE: u32 = 0o600;
const BAR: &str = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";

pub(super) async fn snapshot(context: &Context, snapshot: Snapshot) -> Result<(), Exit> {
    let Snapshot::Save { args } = snapshot;
    let [path] = args.as_slice() else {
        return Err(Exit::args("snapshot save expects one argument <filename>"));
    };
    let path = Path::new(path);
    let endpoints = context.endpoints().await?;
    let place = Place::of(path).map_err(Exit::interrupted)?;
    let is_output = is_same_file(std::io::stdout(), path);
    let version = save(context, path, place, &endpoints).await.map_err(Exit::interrupted)?;
    let version = if version.is_empty() { version } else { format!("Server version {version}\n") };
    let told = [b"Snapshot saved at ", path.as_os_str().as_bytes(), b"\n", version.as_bytes()];
    match is_output {
        // The snapshot is there already, and nothing else belongs into it.
        true => Ok(std::io::stderr().write_all(&told.concat())?),
        false => print(told.concat()),
    }
}

/// Whether a path leads to the file or pipe that an own stream leads to. Devices keep nothing apart.
fn is_same_file(stream: impl AsFd, path: &Path) -> bool {
    let (Ok(own), Ok(found)) = (rustix::fs::fstat(stream), rustix::fs::stat(path)) else {
        return false;
    };
    let is_device = FileType::from_raw_mode(found.st_mode).is_char_device();
    !is_device && (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino)
}

/// Saves a snapshot; the version of the storage. A file is written beside its place and then moved there;
/// a device or a pipe is written into, for it is not to be replaced.
async fn save(
    context: &Context,
    path: &Path,
    place: Place,
    endpoints: &[String],
) -> Result<String, String> {
    if endpoints.len() != 1 {
        let all: Vec<String> = endpoints.iter().map(|name| redacted(name)).collect();
        let text = "snapshot must be requested to one selected node, not multiple";
        return Err(format!("{text} [{}]", all.join(" ")));
    }
    let at = if matches!(place, Place::File) { linked(path)? } else { path.to_owned() };
    let (mut file, part) = match place {
        Place::File => {
            let mut part = OsString::from(&at);
            part.push(".part");
            let part = Part(part.into());
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(PRIVATE);
            let file = open(&options, &part.0)?;
            log::line(
                "info",
                "created temporary db file",
                &[("path", json!(part.0.to_string_lossy()))],
            );
            (file, Some(part))
        }
        Place::Stream => (open(OpenOptions::new().write(true), path)?, None),
    };
    let written = part.as_ref().map_or(path, |part| &part.0);
    let version = fetch(context, &endpoints[0], (&mut file, written), part.is_some()).await?;
    if let Some(part) = part {
        fs::rename(&part.0, &at).map_err(|error| {
            format!("could not rename {} to {} ({error})", part.0.display(), path.display())
        })?;
    }
    log::line("info", "saved", &[("path", json!(path.to_string_lossy()))]);
    Ok(version)
}

/// The file that a path means: a link stays, and what it leads to is replaced.
fn linked(path: &Path) -> Result<PathBuf, String> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink()) {
        return Ok(path.to_owned());
    }
    fs::canonicalize(path)
        .map_err(|error| format!("{} is a link that leads nowhere ({error})", path.display()))
}

fn open(options: &OpenOptions, path: &Path) -> Result<File, String> {
    options
        .open(path)
        .map_err(|error| go::path_error("open", path, &error))
        .map_err(|error| format!("could not open {} ({error})", path.display()))
}

/// Where a snapshot goes.
enum Place {
    /// A file that is there or not.
    File,
    /// Something that takes bytes one after the other.
    Stream,
}

impl Place {
    fn of(path: &Path) -> Result<Place, String> {
        let Ok(found) = fs::metadata(path) else { return Ok(Place::File) };
        let kind = found.file_type();
        match () {
            // This command's log goes there, and could not be told from the snapshot.
            () if kind.is_fifo() && is_same_file(std::io::stderr(), path) => {
                Err(format!("{} is this command's standard error", path.display()))
            }
            () if kind.is_file() => Ok(Place::File),
            () if kind.is_char_device() || kind.is_fifo() => Ok(Place::Stream),
            () if kind.is_dir() => Err(format!("{} is a directory", path.display())),
            () => Err(format!("{} is neither a file nor a pipe", path.display())),
        }
    }
}

/// Fetches a snapshot into a file; the version of the storage.
async fn fetch(
    context: &Context,
    endpoint: &str,
    (file, path): (&mut File, &Path),
    is_synced: bool,
) -> Result<String, String> {
    let start = Instant::now();
    let limited = context.global.has_command_timeout;
    let deadline = if limited { context.deadline() } else { Deadline::NONE };
    let client = context.client_of(vec![endpoint.to_owned()]).await;
    let client = client.map_err(|exit| exit.message().to_owned())?;
    let shown = json!(redacted(endpoint));
    let mut stream = client.snapshot(deadline).await.map_err(|error| {
        log::failed_call("/etcdserverpb.Maintenance/Snapshot", &error);
        error.to_string()
    })?;
    log::line("info", "fetching snapshot", &[("endpoint", shown.clone())]);
    let size = receive(&mut stream, file, path).await?;
    if is_synced {
        file.sync_all().map_err(|error| format!("could not fsync snapshot: {error}"))?;
    }
    let fields = [
        ("endpoint", shown),
        ("size", json!(go::bytes(size))),
        ("took", json!(start.elapsed().as_secs_f64())),
        ("etcd-version", json!(stream.version())),
    ];
    log::line("info", "fetched snapshot", &fields);
    Ok(stream.version().to_owned())
}

/// Writes everything that comes; how many bytes that was.
async fn receive(stream: &mut SnapshotStream, file: &mut File, path: &Path) -> Result<u64, String> {
    let failed =
        |error| format!("could not write snapshot: {}", go::path_error("write", path, &error));
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template(BAR).expect("the template is well formed");
        ProgressBar::new(0).with_style(style)
    });
    while let Some(piece) = stream.next().await.map_err(|error| error.to_string())? {
        file.write_all(&piece).map_err(failed)?;
        if let Some(bar) = &bar {
            let (received, remaining) = stream.progress();
            bar.set_length(received + remaining);
            bar.set_position(received);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(stream.progress().0)
}

/// A file that does not outlive a failure.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // After success it has its own name and is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}
