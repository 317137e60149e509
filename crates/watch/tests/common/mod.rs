//! A store with a hub, and streams that keep what they are sent.
#![allow(dead_code)] // not every test uses everything

use backend::{Backend, EntryId, Options};
use bytes::Bytes;
use disk::sim::SimDisk;
use mvcc::{Change, Progress, Reader, Store};
use prost::Message;
use proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use watch::{Hub, Limits, Sink};

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

/// A change as tests compare it: revision, key, value; no value for a delete.
pub(crate) type Seen = (i64, String, Option<String>);

/// A stream whose client reads when the test says so.
#[derive(Clone)]
pub(crate) struct Wire {
    sent: Arc<Mutex<Vec<WatchResponse>>>,
    taken: Arc<AtomicUsize>,
    queued: Arc<AtomicUsize>,
    /// There is room while fewer bytes than this wait.
    room: Arc<AtomicUsize>,
    /// A response from history may have this many.
    response: Arc<AtomicUsize>,
    pub(crate) cut: Arc<AtomicBool>,
}

impl Default for Wire {
    fn default() -> Wire {
        let room = Arc::new(AtomicUsize::new(usize::MAX));
        let response = Arc::new(AtomicUsize::new(1024 * 1024));
        Wire {
            sent: Arc::default(),
            taken: Arc::default(),
            queued: Arc::default(),
            room,
            response,
            cut: Arc::default(),
        }
    }
}

impl Sink for Wire {
    fn send(&mut self, pieces: Vec<Bytes>) {
        let bytes = pieces.concat();
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.sent.lock().unwrap().push(WatchResponse::decode(&bytes[..]).unwrap());
    }

    fn has_room(&self) -> bool {
        self.queued.load(Ordering::Relaxed) < self.room.load(Ordering::Relaxed)
    }

    fn response_bytes_max(&self) -> usize {
        self.response.load(Ordering::Relaxed)
    }

    fn cut(&mut self) {
        self.cut.store(true, Ordering::Relaxed);
    }
}

impl Wire {
    /// What was sent since the last time.
    pub(crate) fn take(&self) -> Vec<WatchResponse> {
        self.queued.store(0, Ordering::Relaxed);
        let new = self.sent_from(self.taken.load(Ordering::Relaxed));
        self.taken.fetch_add(new.len(), Ordering::Relaxed);
        new
    }

    /// Everything that was ever sent, from the nth response on.
    pub(crate) fn sent_from(&self, n: usize) -> Vec<WatchResponse> {
        self.sent.lock().unwrap()[n..].to_vec()
    }

    /// How many responses were ever sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// Bytes that were sent and not taken.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(crate) fn set_response(&self, bytes: usize) {
        self.response.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_room(&self, bytes: usize) {
        self.room.store(bytes, Ordering::Relaxed);
    }
}

/// A store, and a hub that hears of its changes at once or, while it lags, later.
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) index: u64,
    pub(crate) history: Vec<Seen>,
    /// Changes that the hub has not heard of; `None` while it does not lag.
    pub(crate) lag: Option<Vec<Change>>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Limits {
            fragment_bytes: 100,
            progress_interval_ms: 1000,
            answer_bytes_max: 10_000,
        })
    }

    pub(crate) fn with(limits: Limits) -> World {
        let sim = SimDisk::new(1);
        let backend = Backend::open(sim.disk(), Path::new("db"), options()).unwrap();
        let (store, _) = Store::open(&backend).unwrap();
        let hub = Hub::new(store.reader(), limits, 7, 8);
        World { backend, store, hub, index: 0, history: Vec::new(), lag: None }
    }

    /// Opens a stream.
    pub(crate) fn stream(&mut self, stream: u64) -> Wire {
        let wire = Wire::default();
        self.hub.open(stream, Box::new(wire.clone()));
        wire
    }

    /// Puts and deletes in one revision.
    pub(crate) fn write(&mut self, ops: &[(String, Option<String>)]) {
        self.index += 1;
        let mut txn = self.backend.begin();
        let mut write = self.store.begin(&mut txn);
        let mut done = Vec::new();
        for (key, value) in ops {
            let name = Bytes::from(key.clone());
            match value {
                Some(value) => {
                    write.put(&name, value.as_bytes(), 0, false);
                    done.push((key.clone(), Some(value.clone())));
                }
                None => {
                    if !write.delete_range(&name, &Bytes::new(), false).keys.is_empty() {
                        done.push((key.clone(), None));
                    }
                }
            }
        }
        let change = write.end();
        txn.finish(EntryId { term: 1, index: self.index });
        if let Some(change) = change {
            self.store.publish(&change);
            self.history.extend(done.into_iter().map(|(k, v)| (change.revision, k, v)));
            match &mut self.lag {
                Some(lag) => lag.push(change),
                None => self.hub.publish(&change),
            }
        }
    }

    /// The hub hears of the next changes only when it is told to.
    pub(crate) fn begin_lag(&mut self) {
        self.lag.get_or_insert_default();
    }

    /// The hub hears of what it missed.
    pub(crate) fn end_lag(&mut self) {
        for change in self.lag.take().unwrap_or_default() {
            self.hub.publish(&change);
        }
    }

    /// The hub never hears of what it missed: it is told to read it from history.
    pub(crate) fn overrun(&mut self) {
        self.lag = None;
        self.hub.overrun(self.store.revision());
    }

    /// The store is replaced by another one, that holds what the hub has not heard of.
    pub(crate) fn install_snapshot(&mut self) {
        let (reader, revision) = self.replace_store();
        self.hub.snapshot_installed(reader, revision);
    }

    /// The same, before the hub hears of it: what it will be told.
    pub(crate) fn replace_store(&mut self) -> (Reader, i64) {
        self.lag = None;
        (self.store, _) = Store::open(&self.backend).unwrap();
        (self.store.reader(), self.store.revision())
    }

    pub(crate) fn compact(&mut self, revision: i64) {
        self.index += 1;
        let mut txn = self.backend.begin();
        let scheduled = self.store.schedule_compaction(&mut txn, revision);
        txn.finish(EntryId { term: 1, index: self.index });
        if scheduled.is_ok() {
            loop {
                let mut txn = self.backend.begin_maintenance();
                let progress = self.store.compaction_step(&mut txn);
                txn.finish();
                if progress == Progress::Done {
                    break;
                }
            }
        }
    }

    pub(crate) fn settle(&mut self) {
        while self.hub.step() {}
        self.hub.check();
    }
}

pub(crate) fn request(key: &str, end: &str, start: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        start_revision: start,
        ..Default::default()
    }
}

pub(crate) fn put(key: &str, value: &str) -> (String, Option<String>) {
    (key.into(), Some(value.into()))
}

/// The events in responses.
pub(crate) fn events(responses: &[WatchResponse]) -> Vec<Seen> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let all = responses.iter().flat_map(|response| &response.events);
    all.map(|event| {
        let kv = event.kv.as_ref().unwrap();
        let value = (event.r#type == 0).then(|| text(&kv.value));
        (kv.mod_revision, text(&kv.key), value)
    })
    .collect()
}
