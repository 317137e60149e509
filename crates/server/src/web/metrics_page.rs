//! `/metrics`. To write it takes longer than any other page, and many may ask for it at once: it is written
//! away from the threads that answer the others, once for all who asked meanwhile.

use super::{PLAIN, response};
use crate::shared::Shared;
use bytes::Bytes;
use net::http::HttpResponder;
use parking_lot::Mutex;
use services::Front;
use std::sync::Arc;

const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
/// How many may wait for the page.
const WAITING_MAX: usize = 1024;

/// The page, and who waits for it.
pub(super) struct MetricsPage {
    shared: Arc<Shared>,
    front: Arc<Front>,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    waiting: Vec<HttpResponder>,
    /// A thread writes the page, or is about to, and will see whoever waits by then.
    is_written: bool,
}

impl MetricsPage {
    pub(super) fn new(shared: Arc<Shared>, front: Arc<Front>) -> Arc<MetricsPage> {
        Arc::new(MetricsPage { shared, front, asked: Mutex::default() })
    }

    /// Answers with a page that is written after this was asked.
    pub(super) fn answer(self: &Arc<Self>, reply: HttpResponder) {
        let mut asked = self.asked.lock();
        if asked.waiting.len() >= WAITING_MAX {
            drop(asked);
            return reply.reply(response(503, PLAIN, "etcdserver: too many requests\n"));
        }
        asked.waiting.push(reply);
        if !std::mem::replace(&mut asked.is_written, true) {
            drop(asked);
            self.have_written();
        }
    }

    fn have_written(self: &Arc<Self>) {
        let page = Arc::clone(self);
        self.shared.services.in_scans(move || page.write());
    }

    /// Writes the page for all who wait now; whoever comes meanwhile gets the next, after other work.
    fn write(self: &Arc<Self>) {
        let waiting = std::mem::take(&mut self.asked.lock().waiting);
        let text = Bytes::from(self.shared.metrics_page(self.front.counts()));
        for reply in waiting {
            reply.reply(response(200, TYPE, text.clone()));
        }
        let is_over = {
            let mut asked = self.asked.lock();
            asked.is_written = !asked.waiting.is_empty();
            !asked.is_written
        };
        if !is_over {
            self.have_written();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(60);

    /// Answers of a page to as many as ask.
    fn ask(page: &Arc<MetricsPage>, count: usize) -> Vec<Receiver<(u16, Bytes)>> {
        let one = |_| {
            let (told, answer) = channel();
            page.answer(HttpResponder::new(move |page| {
                let _ = told.send((page.status.as_u16(), page.body));
            }));
            answer
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn other_pages_do_not_wait_for_it_and_many_who_ask_get_one() {
        let bench = Bench::start();
        let page = MetricsPage::new(Arc::clone(bench.shared()), bench.front());
        // Every thread that could write it is busy.
        let (open, gate) = channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        for _ in 0..8 {
            let gate = Arc::clone(&gate);
            bench.shared().services.in_scans(move || {
                let _ = gate.lock().recv();
            });
        }
        let waiting = ask(&page, WAITING_MAX);
        let refused = ask(&page, 1)[0].try_recv().expect("it is refused at once");
        assert_eq!(refused.0, 503);
        assert!(waiting.iter().all(|answer| answer.try_recv().is_err()));
        let livez = bench.page("/livez").try_recv().expect("it does not wait");
        assert_eq!(livez.0, 200);
        drop(open);
        let pages: Vec<_> =
            waiting.iter().map(|answer| answer.recv_timeout(SOON).unwrap()).collect();
        assert!(pages.iter().all(|(status, _)| *status == 200));
        let first = pages[0].1.as_ptr();
        assert!(pages.iter().all(|(_, text)| text.as_ptr() == first), "it is written once");
        let later = ask(&page, 1)[0].recv_timeout(SOON).unwrap();
        assert!(later.0 == 200 && later.1.as_ptr() != first);
    }
}
