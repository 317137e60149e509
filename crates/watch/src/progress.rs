//! Progress: a revision up to which a stream, or a watcher, has everything.

use crate::hub::Hub;
use crate::ids::{StreamId, WatcherId};
use crate::wire::NO_ID;
use proto::etcdserverpb::WatchResponse;

impl Hub {
    /// Answers with the current revision where every watcher of the stream has come that far.
    /// Who asks may have read a revision that is not published here yet: the answer waits for it.
    pub fn request_progress(&mut self, stream: StreamId) {
        let visible = self.visible();
        if visible <= self.current {
            return self.tell_progress(stream);
        }
        let Some(open) = self.streams.get_mut(&stream) else { return };
        // One answer serves everyone who asked before it.
        if let Some(before) = open.progress_due.replace(visible) {
            self.progress_due.remove(&(before, stream));
        }
        self.progress_due.insert((visible, stream));
    }

    /// Tells the streams that wait for a revision that has been published.
    pub(crate) fn pay_progress(&mut self) {
        while let Some((revision, stream)) = self.progress_due.first().copied() {
            if revision > self.current {
                return;
            }
            self.progress_due.remove(&(revision, stream));
            if let Some(open) = self.streams.get_mut(&stream) {
                open.progress_due = None;
            }
            self.tell_progress(stream);
        }
    }

    fn tell_progress(&mut self, stream: StreamId) {
        let current = self.current;
        let Some(open) = self.streams.get(&stream) else { return };
        let are_there = open.watchers.values().all(|watcher| watcher.has_come_to(current));
        if are_there && !open.watchers.is_empty() && open.sink.has_room() {
            self.tell(stream, current, WatchResponse { watch_id: NO_ID, ..Default::default() });
        }
    }

    /// Lets time pass: watchers that asked for it hear of progress.
    pub fn tick(&mut self, now_ms: u64) {
        assert!(now_ms >= self.now_ms, "{now_ms} ms comes before {} ms", self.now_ms);
        self.now_ms = now_ms;
        for (stream, watch_id) in self.due_for_progress() {
            let has_room = self.find((stream, watch_id)).is_some_and(|(sink, _)| sink.has_room());
            if has_room {
                let current = self.current;
                self.tell(stream, current, WatchResponse { watch_id, ..Default::default() });
            }
        }
    }

    /// Watchers that want to hear of progress and have heard of nothing else for a while.
    fn due_for_progress(&mut self) -> Vec<WatcherId> {
        let (current, interval) = (self.current, self.limits.progress_interval_ms);
        let now_ms = self.now_ms;
        let mut due = Vec::new();
        for (stream, open) in &mut self.streams {
            if open.next_progress_ms > now_ms {
                continue;
            }
            open.next_progress_ms = now_ms + interval;
            for (id, watcher) in &mut open.watchers {
                let was_busy = std::mem::take(&mut watcher.is_busy);
                if watcher.progress_notify && watcher.has_come_to(current) && !was_busy {
                    due.push((*stream, *id));
                }
            }
        }
        // In an order that a run of the same events repeats.
        due.sort_unstable();
        due
    }
}
