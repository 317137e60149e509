//! Health: `/health`, and `/livez` and `/readyz` with a page for each check
//! (reference: `server/etcdserver/api/etcdhttp/health.go`).

use super::response;
use crate::metrics::Read;
use crate::shared::Shared;
use apply::mvcc::RangeOptions;
use net::http::HttpResponse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

const PLAIN: &str = "text/plain; charset=utf-8";

/// One check by its name: what is wrong, if anything.
type Check = (&'static str, fn(&Shared) -> Result<(), String>);

const LIVEZ: &[Check] = &[("serializable_read", serializable_read)];
const READYZ: &[Check] = &[
    ("data_corruption", data_corruption),
    ("serializable_read", serializable_read),
    ("linearizable_read", linearizable_read),
    ("non_learner", non_learner),
];

/// `/health`: alarms, then the leader, then a read.
pub(super) fn health(shared: &Arc<Shared>, query: &str) -> HttpResponse {
    let asks = |name: &str| query.split('&').any(|pair| pair == name);
    let excludes = |alarm: &str| asks(&format!("exclude={alarm}"));
    let gauges = &shared.gauges;
    let reason = if gauges.no_space.load(Ordering::Relaxed) && !excludes("NOSPACE") {
        Some("ALARM NOSPACE".to_owned())
    } else if gauges.corrupt.load(Ordering::Relaxed) && !excludes("CORRUPT") {
        Some("ALARM CORRUPT".to_owned())
    } else if !asks("serializable=true") && gauges.leader.load(Ordering::Relaxed) == 0 {
        Some("RAFT NO LEADER".to_owned())
    } else {
        let read = if asks("serializable=true") { serializable_read } else { linearizable_read };
        read(shared).err().map(|error| format!("RANGE ERROR:{error}"))
    };
    let healthy = reason.is_none();
    let body = format!(r#"{{"health":"{healthy}","reason":"{}"}}"#, reason.unwrap_or_default());
    if healthy {
        shared.metrics.member.health_successes.inc();
        response(200, PLAIN, body)
    } else {
        shared.metrics.member.health_failures.inc();
        response(503, PLAIN, body + "\n")
    }
}

/// `/livez` or `/readyz` with all its checks, or the page of one.
pub(super) struct Page {
    root: &'static str,
    checks: &'static [Check],
    is_one: bool,
}

impl Page {
    /// The page of a path.
    pub(super) fn find(path: &str) -> Option<Page> {
        [("livez", LIVEZ), ("readyz", READYZ)].into_iter().find_map(|(root, all)| {
            let rest = path.strip_prefix('/')?.strip_prefix(root)?;
            if rest.is_empty() {
                return Some(Page { root, checks: all, is_one: false });
            }
            let name = rest.strip_prefix('/')?;
            let place = all.iter().position(|(known, _)| *known == name)?;
            Some(Page { root, checks: &all[place..=place], is_one: true })
        })
    }

    /// Makes its checks.
    pub(super) fn answer(&self, shared: &Arc<Shared>, query: &str) -> HttpResponse {
        let is_excluded = |name: &str| {
            !self.is_one && query.split('&').any(|pair| pair == format!("exclude={name}"))
        };
        let chosen = self.checks.iter().filter(|(name, _)| !is_excluded(name));
        run(shared, self.root, chosen, query)
    }
}

fn run<'c>(
    shared: &Arc<Shared>,
    root: &'static str,
    chosen: impl Iterator<Item = &'c Check>,
    query: &str,
) -> HttpResponse {
    let verbose = query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose="));
    let mut lines = String::new();
    let mut failed = false;
    for (name, check) in chosen {
        let result = check(shared);
        shared.metrics.member.checked(root, name, result.is_ok());
        match result {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(error) => {
                failed = true;
                lines.push_str(&format!("[-]{name} failed: {error}\n"));
            }
        }
    }
    let mut answer = if failed {
        // One more line break, as Go's http.Error adds.
        response(503, PLAIN, lines + "\n")
    } else if verbose {
        response(200, PLAIN, lines + "ok\n")
    } else {
        response(200, PLAIN, "ok\n")
    };
    let nosniff = net::http::HeaderValue::from_static("nosniff");
    answer.headers.insert("x-content-type-options", nosniff);
    answer
}

fn serializable_read(shared: &Shared) -> Result<(), String> {
    let one = RangeOptions { limit: 1, keys_only: true, ..RangeOptions::default() };
    let begun = Instant::now();
    let result = shared.reader.read().range(&one);
    shared.metrics.keys.count_reads(1);
    shared.metrics.requests.read(Read::Range, result.is_ok(), begun.elapsed());
    result.map(|_| ()).map_err(|refusal| format!("{refusal:?}"))
}

fn linearizable_read(shared: &Shared) -> Result<(), String> {
    let promise = super::Promise::new();
    let promised = Arc::clone(&promise);
    shared.linearizable(move |confirmed| promised.give(confirmed));
    match promise.wait(2 * shared.limits.request_timeout) {
        Some(Ok(())) => serializable_read(shared),
        Some(Err(error)) => Err(error.code_and_text().1.into()),
        None => Err(crate::rpc::Error::Timeout.code_and_text().1.into()),
    }
}

fn data_corruption(shared: &Shared) -> Result<(), String> {
    if shared.gauges.corrupt.load(Ordering::Relaxed) {
        return Err("alarm activated: CORRUPT".into());
    }
    Ok(())
}

fn non_learner(shared: &Shared) -> Result<(), String> {
    if shared.roster.is_learner() { Err("not supported for learner".into()) } else { Ok(()) }
}
