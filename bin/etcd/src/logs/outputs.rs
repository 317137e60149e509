//! Where lines go: standard error, standard output, files. Each has a queue and a thread of its own, so
//! one that takes nothing holds up neither the member nor the others.

use super::encode::Line;
use crate::settings::{LogFormat, LogOutput};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait for one output, and bytes of them.
const LINES_MAX: usize = 4096;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long the last lines may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The way to one output.
pub(super) struct Output {
    items: SyncSender<Item>,
    counts: Arc<Counts>,
}

enum Item {
    Line(Arc<str>),
    /// Everything before is written: whoever waits is told.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

/// Opens outputs.
///
/// # Errors
/// Those that cannot be had, in etcd's words.
pub(super) fn open(outputs: &[LogOutput], format: LogFormat) -> Result<Vec<Output>, String> {
    let (opened, refused): (Vec<_>, Vec<_>) = outputs.iter().map(sink).partition(Result::is_ok);
    let refused: Vec<String> = refused.into_iter().filter_map(Result::err).collect();
    if !refused.is_empty() {
        return Err(refused.join("; "));
    }
    opened.into_iter().flatten().map(|sink| begin(sink, format)).collect()
}

type Sink = Box<dyn Write + Send>;

fn sink(output: &LogOutput) -> Result<Sink, String> {
    let path = match output {
        LogOutput::Stderr => return Ok(Box::new(io::stderr())),
        LogOutput::Stdout => return Ok(Box::new(io::stdout())),
        LogOutput::File(path) => path,
    };
    match OpenOptions::new().create(true).append(true).open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => {
            let why = cli::go::path_error("open", path, &error);
            Err(format!("open sink {}: {why}", cli::go::quote(path.as_os_str().as_encoded_bytes())))
        }
    }
}

fn begin(sink: Sink, format: LogFormat) -> Result<Output, String> {
    let (items, lines) = sync_channel(LINES_MAX);
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    let thread = std::thread::Builder::new().name("logs".into());
    thread
        .spawn(move || Writer { sink, format, counts: counted, is_torn: false }.run(&lines))
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(Output { items, counts })
}

impl Output {
    /// Has a line written, if there is room for it.
    pub(super) fn write(&self, line: &str) {
        let counts = &self.counts;
        let waiting = counts.waiting_bytes.fetch_add(line.len(), Ordering::AcqRel);
        let has_room = waiting + line.len() <= BYTES_MAX;
        if !has_room || self.items.try_send(Item::Line(line.into())).is_err() {
            counts.waiting_bytes.fetch_sub(line.len(), Ordering::AcqRel);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How often a full queue is looked at by whoever flushes it.
const FULL_LOOK: Duration = Duration::from_millis(1);

impl Output {
    /// Asks to be told when all lines so far are written, as soon as the queue has room for the question.
    fn ask_flush(&self, until: Instant) -> Option<Receiver<()>> {
        let (done, written) = sync_channel(1);
        let mut question = Item::Flush(done);
        loop {
            question = match self.items.try_send(question) {
                Ok(()) => return Some(written),
                Err(TrySendError::Full(question)) if Instant::now() < until => question,
                Err(_) => return None,
            };
            std::thread::sleep(FULL_LOOK);
        }
    }
}

/// Waits a moment until everything is written. Whoever does not read in time does not get the rest.
pub(super) fn flush(outputs: &[Output]) {
    flush_within(outputs, FLUSH_LIMIT);
}

fn flush_within(outputs: &[Output], limit: Duration) {
    let until = Instant::now() + limit;
    let flushes: Vec<_> = outputs.iter().filter_map(|output| output.ask_flush(until)).collect();
    for written in flushes {
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// What an output's thread works with.
struct Writer {
    sink: Sink,
    format: LogFormat,
    counts: Arc<Counts>,
    /// The last line may have been written in part.
    is_torn: bool,
}

impl Writer {
    fn run(mut self, items: &Receiver<Item>) {
        for item in items {
            match item {
                Item::Line(line) => {
                    self.counts.waiting_bytes.fetch_sub(line.len(), Ordering::AcqRel);
                    self.write(&line);
                }
                Item::Flush(done) => drop(done.send(())),
            }
        }
    }

    /// A full disk, or a pipe that nobody holds open, may take the next line again.
    fn write(&mut self, line: &str) {
        let dropped = self.counts.dropped.swap(0, Ordering::Relaxed);
        let result = self.try_write(line).and_then(|()| self.tell_dropped(dropped));
        if result.is_err() {
            self.counts.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }

    fn tell_dropped(&mut self, dropped: u64) -> io::Result<()> {
        if dropped == 0 {
            return Ok(());
        }
        let caller = super::encode::caller(file!(), line!());
        let message = "log lines were dropped, for they could not be written";
        let line = Line::saying("warn", caller, message, "lines", dropped);
        self.try_write(&line.encode(self.format))
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        if self.is_torn {
            self.sink.write_all(b"\n")?;
        }
        self.is_torn = true;
        self.sink.write_all(line.as_bytes())?;
        // Standard output keeps what is not flushed.
        self.sink.flush()?;
        self.is_torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking::Gate;

    /// A sink that takes nothing while it is closed.
    mod parking {
        use std::io::{self, Write};
        use std::sync::{Arc, Condvar, Mutex};

        #[derive(Clone, Default)]
        pub(super) struct Gate {
            state: Arc<(Mutex<State>, Condvar)>,
        }

        #[derive(Default)]
        struct State {
            is_open: bool,
            fails: usize,
            text: Vec<u8>,
        }

        impl Gate {
            pub(super) fn open(&self) {
                self.state.0.lock().unwrap().is_open = true;
                self.state.1.notify_all();
            }

            pub(super) fn fail(&self, times: usize) {
                self.state.0.lock().unwrap().fails = times;
            }

            pub(super) fn text(&self) -> String {
                String::from_utf8(self.state.0.lock().unwrap().text.clone()).unwrap()
            }
        }

        impl Write for Gate {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let mut state = self.state.0.lock().unwrap();
                while !state.is_open {
                    state = self.state.1.wait(state).unwrap();
                }
                if state.fails > 0 {
                    state.fails -= 1;
                    // Half of it fits.
                    let half = bytes.len() / 2;
                    state.text.extend_from_slice(&bytes[..half]);
                    return Err(io::ErrorKind::StorageFull.into());
                }
                state.text.extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    }

    fn dropped(text: &str) -> u64 {
        let told = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        told.filter_map(|line: serde_json::Value| line.get("lines")?.as_u64()).sum()
    }

    /// Waits until everything is written, on a busy machine too.
    fn written(outputs: &[Output]) {
        flush_within(outputs, Duration::from_secs(60));
    }

    #[test]
    fn an_output_that_takes_nothing_holds_up_nobody_and_is_told_what_it_missed() {
        let gate = Gate::default();
        let output = begin(Box::new(gate.clone()), LogFormat::Json).unwrap();
        let sent = 2 * LINES_MAX;
        (0..sent).for_each(|n| output.write(&format!("line {n}\n")));
        gate.open();
        written(std::slice::from_ref(&output));
        let text = gate.text();
        let written = text.lines().filter(|line| line.starts_with("line ")).count();
        // One more may be in the writer's hand.
        assert!((LINES_MAX..=LINES_MAX + 1).contains(&written), "{written}");
        assert_eq!(written as u64 + dropped(&text), sent as u64);
    }

    #[test]
    fn long_lines_are_bounded_in_bytes() {
        let gate = Gate::default();
        let output = begin(Box::new(gate.clone()), LogFormat::Json).unwrap();
        let long = "x".repeat(BYTES_MAX / 4 + 1);
        (0..10).for_each(|_| output.write(&long));
        let waiting = output.counts.waiting_bytes.load(Ordering::Acquire);
        assert!(waiting <= BYTES_MAX);
        assert!(output.counts.dropped.load(Ordering::Relaxed) >= 5);
        gate.open();
    }

    #[test]
    fn a_full_disk_costs_lines_and_no_more() {
        let gate = Gate::default();
        gate.open();
        let output = begin(Box::new(gate.clone()), LogFormat::Json).unwrap();
        gate.fail(1);
        output.write("first line\n");
        written(std::slice::from_ref(&output));
        output.write("second line\n");
        written(std::slice::from_ref(&output));
        let text = gate.text();
        assert!(text.starts_with("first\nsecond line\n"), "{text}");
        assert_eq!(dropped(&text), 1);
    }

    #[test]
    fn a_file_that_cannot_be_had_is_refused_in_the_words_of_etcd() {
        let refusal =
            |path: &str| open(&[LogOutput::File(path.into())], LogFormat::Json).err().unwrap();
        assert_eq!(
            refusal("/nonexistent/x.log"),
            "open sink \"/nonexistent/x.log\": open /nonexistent/x.log: no such file or directory"
        );
    }

    #[test]
    fn lines_go_to_the_end_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for line in ["once\n", "twice\n"] {
            let outputs = open(&[LogOutput::File(path.clone())], LogFormat::Json).unwrap();
            outputs.iter().for_each(|output| output.write(line));
            written(&outputs);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "once\ntwice\n");
    }
}
