//! Connections on which a question was answered and another may be asked.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Kept to one address.
const IDLE_MAX: usize = 8;
/// Used again within this time. Members close them after five seconds, maybe just when something is
/// being asked; then nobody knows whether it was heard.
const IDLE_TIME: Duration = Duration::from_secs(3);

/// What questions go through.
pub(crate) type Asking = SendRequest<Full<Bytes>>;

/// Connections without a question, by address.
#[derive(Default)]
pub(crate) struct Idle {
    open: Mutex<HashMap<String, Vec<(Instant, Asking)>>>,
}

impl Idle {
    /// The one used last, if it is still open.
    pub(crate) async fn take(&self, address: &str) -> Option<Asking> {
        loop {
            let (since, mut connection) = self.open.lock().get_mut(address)?.pop()?;
            if since.elapsed() < IDLE_TIME && connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Keeps one whose answer was read to its end, and lets go of those that are of no use.
    pub(crate) fn keep(&self, address: &str, connection: Asking) {
        let mut open = self.open.lock();
        open.retain(|_, kept| {
            kept.retain(|(since, open)| since.elapsed() < IDLE_TIME && !open.is_closed());
            !kept.is_empty()
        });
        let kept = open.entry(address.to_owned()).or_default();
        if kept.len() < IDLE_MAX {
            kept.push((Instant::now(), connection));
        }
    }
}
