//! `/debug/vars`: the variables that Go's programs publish, as far as this one has them
//! (reference: `server/etcdserver/api/etcdhttp/debug.go`).

use super::response;
use crate::shared::Shared;
use metrics::process;
use net::http::{HttpResponder, HttpResponse};
use replica::raft;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where they are.
pub(super) const PATH: &str = "/debug/vars";

/// What is shown instead of a secret.
const HIDDEN: &str = "xxxxx";
/// Parts of flags' names whose values are secrets.
const SECRETS: [&str; 2] = ["password", "secret"];

/// Answers once the core has told its status.
pub(super) fn answer(shared: &Arc<Shared>, reply: HttpResponder) {
    let Some(place) = shared.pages.enter() else {
        return reply.reply(response(503, super::PLAIN, "etcdserver: too many requests\n"));
    };
    shared.services.raft_status(move |status| {
        let status = raft_status(&status);
        drop(place);
        reply.reply(page(&status));
    });
}

fn page(raft_status: &Value) -> HttpResponse {
    let variables = [
        ("cmdline", json!(without_secrets(process::command_line()))),
        ("file_descriptor_limit", json!(process::fd_limit().unwrap_or_default())),
        ("memstats", memory()),
        ("raft.status", raft_status.clone()),
    ];
    let lines = variables.map(|(name, value)| format!("\"{name}\": {value}"));
    let body = format!("{{\n{}\n}}\n", lines.join(",\n"));
    response(200, "application/json; charset=utf-8", body)
}

fn raft_status(status: &raft::Status) -> Value {
    let basic = &status.basic;
    let progress = status.progress.0.iter().map(|(id, progress)| {
        let shown = json!({
            "match": progress.matched,
            "next": progress.next,
            "state": progress.flow.to_string(),
        });
        (format!("{id:x}"), shown)
    });
    json!({
        "id": format!("{:x}", basic.id),
        "term": basic.term,
        "vote": format!("{:x}", basic.vote),
        "commit": basic.committed,
        "lead": format!("{:x}", basic.leader),
        "raftState": basic.role.to_string(),
        "applied": basic.applied,
        "progress": progress.collect::<serde_json::Map<_, _>>(),
        "leadtransferee": format!("{:x}", basic.transferee),
    })
}

/// Memory in the words of Go's runtime. There is no garbage collector, so all that counts its work
/// is nothing, and what is in use is all there is of the heap.
fn memory() -> Value {
    let (resident, heap) = process::memory_bytes();
    let ring = [0; 256];
    let pauses = json!({"PauseTotalNs": 0, "PauseNs": ring[..], "PauseEnd": ring[..], "NumGC": 0});
    let mut memory = json!({
        "Alloc": heap, "TotalAlloc": heap, "Sys": resident, "Lookups": 0, "Mallocs": 0, "Frees": 0,
        "HeapAlloc": heap, "HeapSys": heap, "HeapIdle": 0, "HeapInuse": heap, "HeapReleased": 0,
        "HeapObjects": 0, "StackInuse": 0, "StackSys": 0, "MSpanInuse": 0, "MSpanSys": 0,
        "MCacheInuse": 0, "MCacheSys": 0, "BuckHashSys": 0, "GCSys": 0, "OtherSys": 0,
        "NextGC": 0, "LastGC": 0, "NumForcedGC": 0, "GCCPUFraction": 0, "EnableGC": false,
        "DebugGC": false, "BySize": [],
    });
    if let (Value::Object(memory), Value::Object(pauses)) = (&mut memory, pauses) {
        memory.extend(pauses);
    }
    memory
}

/// A command line as anyone may see it: without the values of flags that name a secret, without the
/// passwords that follow users' names, and without those in URLs.
fn without_secrets(arguments: Vec<String>) -> Vec<String> {
    // What hides the value of a flag that stands before it.
    let mut hide: Option<fn(&str) -> String> = None;
    let shown = arguments.into_iter().map(|argument| {
        if let Some(hide) = hide.take() {
            return hide(&argument);
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        let hides = hiding(name);
        match value {
            Some(value) => format!("{name}={}", hides.unwrap_or(without_passwords)(value)),
            None => {
                hide = hides;
                without_passwords(&argument)
            }
        }
    });
    shown.collect()
}

/// How the value of a flag is hidden, if it has to be.
fn hiding(flag: &str) -> Option<fn(&str) -> String> {
    let name = flag.to_ascii_lowercase();
    if !name.starts_with('-') {
        None
    } else if SECRETS.iter().any(|word| name.contains(word)) {
        Some(|_| HIDDEN.to_owned())
    } else if name.ends_with("user") {
        Some(|value| match value.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}"),
            None => value.to_owned(),
        })
    } else {
        None
    }
}

/// Hides what stands between the colon and the `@` of every `scheme://user:password@host`.
fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(['/', '?', '#', ',']).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
            Some((Some((user, _)), host)) => shown.push_str(&format!("{user}:{HIDDEN}@{host}")),
            _ => shown.push_str(authority),
        }
        rest = behind;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let shown = |arguments: &[&str]| {
            without_secrets(arguments.iter().map(|&argument| argument.to_owned()).collect())
        };
        assert_eq!(
            shown(&["etcd", "--discovery-password=s3cret", "--name", "m", "--data-dir=d"]),
            ["etcd", "--discovery-password=xxxxx", "--name", "m", "--data-dir=d"]
        );
        assert_eq!(
            shown(&["etcd", "-discovery-Password", "s3cret", "--debug"]),
            ["etcd", "-discovery-Password", "xxxxx", "--debug"]
        );
        assert_eq!(
            shown(&["etcd", "--discovery-endpoints=http://u:p:q@a:1,https://b:2/x:y@z,http://c@d"]),
            ["etcd", "--discovery-endpoints=http://u:xxxxx@a:1,https://b:2/x:y@z,http://c@d"]
        );
        assert_eq!(
            shown(&["etcd", "--discovery-user=u:p:q", "--discovery-user", "u:p", "--user=u"]),
            ["etcd", "--discovery-user=u:xxxxx", "--discovery-user", "u:xxxxx", "--user=u"]
        );
        assert_eq!(shown(&["etcd", "--password"]), ["etcd", "--password"]);
    }

    #[test]
    fn memory_has_the_fields_of_go() {
        let memory = memory();
        assert_eq!(memory["PauseNs"].as_array().map(Vec::len), Some(256));
        assert_eq!(memory.as_object().map(serde_json::Map::len), Some(32));
        assert!(memory["Sys"].as_u64() >= memory["Alloc"].as_u64());
    }
}
