//! Probing: how long the way to a peer and back is, and how far its clock is from ours.
//!
//! `GET /raft/probing` is answered with `{"OK":true,"Now":"<RFC 3339>"}`.

use crate::answer::{self, Reply};
use crate::body;
use crate::failure::Failure;
use crate::handler::{Note, Route};
use crate::shared::Shared;
use crate::status::Status;
use crate::urls::Picker;
use address::Url;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1::SendRequest;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::{MissedTickBehavior, interval, timeout};

const PATH: &str = "/raft/probing";
/// The weight of the newest round trip in the smoothed one.
const NEWEST_WEIGHT: f64 = 0.125;

/// Answers a probe.
pub(crate) fn answer() -> Response<Reply> {
    let now = humantime::format_rfc3339_nanos(SystemTime::now());
    let body = format!("{{\"OK\":true,\"Now\":\"{now}\"}}\n");
    let mut response = answer::whole(StatusCode::OK, Bytes::from(body));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Probes one peer on one route, for as long as its task runs.
pub(crate) struct Prober {
    pub(crate) route: Route,
    pub(crate) shared: Arc<Shared>,
    pub(crate) picker: Arc<Picker>,
    pub(crate) status: Arc<Status>,
    pub(crate) kept: Option<(Url, SendRequest<Empty<Bytes>>)>,
    /// The smoothed round trip.
    pub(crate) smoothed: Option<Duration>,
}

impl Prober {
    /// Never ends by itself.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(self.shared.config.limits.probe_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let began = Instant::now();
            let url = self.picker.pick();
            match self.probe(&url).await {
                Ok(remote_now) => self.record(began.elapsed(), remote_now),
                Err(failure) => {
                    self.kept = None;
                    let (id, route, why) = (self.status.id(), self.route, failure.to_string());
                    self.shared.handler.note(&Note::ProbeFailed { id, route, why: &why });
                }
            }
        }
    }

    /// The peer's clock.
    async fn probe(&mut self, url: &Url) -> Result<SystemTime, Failure> {
        let limit = self.shared.config.limits.read_timeout;
        let mut connection = match self.kept.take() {
            Some((kept, connection)) if kept == *url && !connection.is_closed() => connection,
            _ => self.shared.open(url).await?,
        };
        let request = Request::get(PATH)
            .header(HOST, url.escaped_host())
            .body(Empty::new())
            .expect("an address that was parsed makes a request");
        let response = timeout(limit, connection.send_request(request)).await;
        let response = response.map_err(|_| Failure::TimedOut("waiting for an answer"))??;
        let status = response.status();
        let text = body::answer(response.into_body(), limit).await?;
        if status != StatusCode::OK {
            return Err(Failure::of_status(status, &String::from_utf8_lossy(&text)));
        }
        if self.route == Route::Snapshot {
            self.kept = Some((url.clone(), connection));
        }
        parse(&text).ok_or(Failure::Probe)
    }

    fn record(&mut self, rtt: Duration, remote_now: SystemTime) {
        let last = self.smoothed.unwrap_or(rtt);
        let rtt = last.mul_f64(1.0 - NEWEST_WEIGHT) + rtt.mul_f64(NEWEST_WEIGHT);
        self.smoothed = Some(rtt);
        self.status.round_trip(rtt);
        let clock_drift = match SystemTime::now().duration_since(remote_now) {
            Ok(behind) => behind.abs_diff(rtt / 2),
            Err(ahead) => ahead.duration() + rtt / 2,
        };
        let (id, route) = (self.status.id(), self.route);
        self.shared.handler.note(&Note::RoundTrip { id, route, rtt, clock_drift });
    }
}

/// The time in an answer, if it says that all is well.
fn parse(text: &[u8]) -> Option<SystemTime> {
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    if value.get("OK")?.as_bool()? { parse_time(value.get("Now")?.as_str()?) } else { None }
}

/// RFC 3339 with any offset.
fn parse_time(text: &str) -> Option<SystemTime> {
    if text.ends_with('Z') {
        return humantime::parse_rfc3339(text).ok();
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let minutes = hours.parse::<u64>().ok()?.checked_mul(60)? + minutes.parse::<u64>().ok()?;
    let offset_by = Duration::from_secs(minutes.checked_mul(60)?);
    match offset.as_bytes().first()? {
        b'+' => local.checked_sub(offset_by),
        b'-' => local.checked_add(offset_by),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offsets() {
        let utc = parse_time("2024-05-06T07:08:09.000000001Z");
        assert!(utc.is_some());
        assert_eq!(parse_time("2024-05-06T09:08:09.000000001+02:00"), utc);
        assert_eq!(parse_time("2024-05-06T01:38:09.000000001-05:30"), utc);
        for bad in ["", "Z", "now", "2024-05-06T07:08:09", "2024-05-06T07:08:09é+1:00"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_healthy_answer_counts() {
        assert!(parse(br#"{"OK":true,"Now":"2024-05-06T07:08:09Z"}"#).is_some());
        assert!(parse(br#"{"OK":false,"Now":"2024-05-06T07:08:09Z"}"#).is_none());
        assert!(parse(b"[]").is_none());
    }
}
