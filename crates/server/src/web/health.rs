//! Health: `/health`, and `/livez` and `/readyz` with a page for each check
//! (reference: `server/etcdserver/api/etcdhttp/health.go`).

use super::{PLAIN, response};
use crate::shared::Shared;
use metrics::Read;
use mvcc::RangeOptions;
use net::http::{HttpResponder, HttpResponse};
use services::{Call, Error};
use std::sync::Arc;
use std::time::Instant;

/// How a check is made.
#[derive(Clone, Copy)]
enum Check {
    /// Of what this member knows by itself.
    Here(fn(&Shared) -> Result<(), String>),
    /// By a read that the cluster confirms: the page waits for that.
    Linearizable,
}

/// A check by its name.
type Named = (&'static str, Check);

const LIVEZ: &[Named] = &[("serializable_read", Check::Here(serializable_read))];
const READYZ: &[Named] = &[
    ("data_corruption", Check::Here(data_corruption)),
    ("serializable_read", Check::Here(serializable_read)),
    ("linearizable_read", Check::Linearizable),
    ("non_learner", Check::Here(non_learner)),
];

/// What the cluster said to a linearizable read.
type Confirmed = Result<(), String>;

/// Asks the cluster whether a linearizable read may be served; `then` hears of it, now or later.
fn confirm(shared: &Arc<Shared>, then: impl FnOnce(Confirmed) + Send + 'static) {
    let text = |error: Error| error.code_and_text().1.to_owned();
    let Some(place) = shared.pages.enter() else {
        return then(Err(text(Error::TooManyRequests)));
    };
    shared.services.linearizable(&Call::default(), move |confirmed| {
        drop(place);
        then(confirmed.map_err(text));
    });
}

/// `/health`: alarms, then the leader, then a read.
pub(super) fn health(shared: &Arc<Shared>, query: &str, reply: HttpResponder) {
    let asks = |name: &str| query.split('&').any(|pair| pair == name);
    let is_serializable = asks("serializable=true");
    if let Some(reason) = known_reason(shared, is_serializable, asks) {
        return reply.reply(report(shared, Some(reason)));
    }
    let inner = Arc::clone(shared);
    let finish = move |confirmed: Confirmed| {
        let read = confirmed.and_then(|()| serializable_read(&inner));
        let reason = read.err().map(|error| format!("RANGE ERROR:{error}"));
        reply.reply(report(&inner, reason.as_deref()));
    };
    if is_serializable {
        finish(Ok(()));
    } else {
        confirm(shared, finish);
    }
}

/// Why the member is not healthy, as far as it knows without a read.
fn known_reason(
    shared: &Shared,
    is_serializable: bool,
    asks: impl Fn(&str) -> bool,
) -> Option<&'static str> {
    let excludes = |alarm: &str| asks(&format!("exclude={alarm}"));
    let figures = &shared.common().figures;
    if figures.no_space() && !excludes("NOSPACE") {
        Some("ALARM NOSPACE")
    } else if figures.corrupt() && !excludes("CORRUPT") {
        Some("ALARM CORRUPT")
    } else if !is_serializable && figures.leader() == 0 {
        Some("RAFT NO LEADER")
    } else {
        None
    }
}

fn report(shared: &Shared, reason: Option<&str>) -> HttpResponse {
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
    checks: &'static [Named],
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
    pub(super) fn answer(&self, shared: &Arc<Shared>, query: &str, reply: HttpResponder) {
        let is_excluded = |name: &str| {
            !self.is_one && query.split('&').any(|pair| pair == format!("exclude={name}"))
        };
        let checks = self.checks.iter().filter(|(name, _)| !is_excluded(name));
        let chosen = Chosen {
            root: self.root,
            checks: checks.copied().collect(),
            is_verbose: query
                .split('&')
                .any(|pair| pair == "verbose" || pair.starts_with("verbose=")),
        };
        let waits = chosen.checks.iter().any(|(_, check)| matches!(check, Check::Linearizable));
        let inner = Arc::clone(shared);
        let finish = move |confirmed: Confirmed| reply.reply(chosen.answer(&inner, &confirmed));
        if waits {
            confirm(shared, finish);
        } else {
            finish(Ok(()));
        }
    }
}

/// The checks that a request asks for.
struct Chosen {
    root: &'static str,
    checks: Vec<Named>,
    is_verbose: bool,
}

impl Chosen {
    fn answer(&self, shared: &Shared, confirmed: &Confirmed) -> HttpResponse {
        let mut lines = String::new();
        let mut failed = false;
        for (name, check) in &self.checks {
            let result = match check {
                Check::Here(check) => check(shared),
                Check::Linearizable => confirmed.clone().and_then(|()| serializable_read(shared)),
            };
            shared.metrics.member.checked(self.root, name, result.is_ok());
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
        } else if self.is_verbose {
            response(200, PLAIN, lines + "ok\n")
        } else {
            response(200, PLAIN, "ok\n")
        };
        let nosniff = net::http::HeaderValue::from_static("nosniff");
        answer.headers.insert("x-content-type-options", nosniff);
        answer
    }
}

fn serializable_read(shared: &Shared) -> Result<(), String> {
    let one = RangeOptions { limit: 1, keys_only: true, ..RangeOptions::default() };
    let begun = Instant::now();
    let result = shared.common().reader.read().range(&one);
    shared.metrics.keys.count_reads(1);
    shared.metrics.requests.read(Read::Range, result.is_ok(), begun.elapsed());
    result.map(|_| ()).map_err(|refusal| format!("{refusal:?}"))
}

fn data_corruption(shared: &Shared) -> Result<(), String> {
    if shared.common().figures.corrupt() {
        return Err("alarm activated: CORRUPT".into());
    }
    Ok(())
}

fn non_learner(shared: &Shared) -> Result<(), String> {
    if shared.ports.roster.is_learner() { Err("not supported for learner".into()) } else { Ok(()) }
}
