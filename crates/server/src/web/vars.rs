//! `/debug/vars`: the variables that Go's programs publish, as far as this one has them
//! (reference: `server/etcdserver/api/etcdhttp/debug.go`).

use super::response;
use crate::arguments::shown_arguments;
use crate::shared::Shared;
use metrics::process;
use net::http::{HttpResponder, HttpResponse};
use serde_json::{Value, json};
use std::sync::Arc;

/// Where they are.
pub(super) const PATH: &str = "/debug/vars";

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
        ("cmdline", json!(shown_arguments(process::command_line()))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_the_fields_of_go() {
        let memory = memory();
        assert_eq!(memory["PauseNs"].as_array().map(Vec::len), Some(256));
        assert_eq!(memory.as_object().map(serde_json::Map::len), Some(32));
        assert!(memory["Sys"].as_u64() >= memory["Alloc"].as_u64());
    }
}
