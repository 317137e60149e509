//! Leases through their lives, as scripts tell them.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{ApplyTxn, Backend, EntryId, Options, Table};
use bytes::Bytes;
use disk::sim::SimDisk;
use lease::{Config, Lessor, Refusal, Renewal};
use prost::Message;
use proto::etcdserverpb::LeaseCheckpoint;
use script::{Directive, Suite};
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

/// Scripts are added, not lost.
const SCRIPTS_MIN: usize = 17;

#[test]
fn leases_live_as_the_scripts_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    Suite::own(dir, SCRIPTS_MIN).run(|| {
        let mut member = Member::new();
        move |directive| {
            let text = member.handle(directive);
            member.lessor.check();
            text
        }
    });
}

/// A lessor with its database and the time that it was last told.
struct Member {
    backend: Backend,
    lessor: Lessor,
    config: Config,
    index: u64,
    now_ms: u64,
}

impl Member {
    fn new() -> Member {
        let disk = SimDisk::new(1).disk();
        let backend = Backend::open(disk, Path::new("db"), options()).unwrap();
        let config = Config {
            ttl_min_s: 2,
            checkpoints: true,
            persist_checkpoints: true,
            checkpoint_interval_ms: 300_000,
        };
        let lessor = Lessor::open(&backend.reader().view(), config);
        Member { backend, lessor, config, index: 0, now_ms: 0 }
    }

    fn apply<T>(&mut self, act: impl FnOnce(&mut Lessor, &mut ApplyTxn<'_>) -> T) -> T {
        self.index += 1;
        let mut txn = self.backend.begin();
        let result = act(&mut self.lessor, &mut txn);
        txn.finish(EntryId { term: 1, index: self.index });
        result
    }

    /// Commands of the log first, then those of time, then questions.
    fn handle(&mut self, directive: &Directive) -> String {
        if directive.value("at").is_some() {
            self.now_ms = directive.get("at");
        }
        match directive.command.as_str() {
            "grant" => self.grant(directive),
            "revoke" => self.revoke(directive.number(0)),
            "attach" => {
                let key = Bytes::from(directive.word(0).to_owned());
                self.lessor.attach(&key, directive.number(1));
                self.lease_of(directive.word(0))
            }
            "detach" => {
                self.lessor.detach(&Bytes::from(directive.word(0).to_owned()));
                self.lease_of(directive.word(0))
            }
            "checkpoint" => self.checkpoint(directive),
            "promote" => {
                self.lessor.promote(self.now_ms, directive.get("extend"));
                self.expiries()
            }
            "demote" => {
                self.lessor.demote();
                "no lease expires here".into()
            }
            "restart" => self.restart(directive),
            "stored" => self.store_foreign(directive),
            _ => self.ask(directive),
        }
    }

    fn ask(&mut self, directive: &Directive) -> String {
        let (now_ms, max) = (self.now_ms, directive.get::<usize>("max"));
        let max = if max == 0 { usize::MAX } else { max };
        match directive.command.as_str() {
            "tick" => {
                self.lessor.tick(now_ms);
                format!("it is {now_ms} ms")
            }
            "renew" => self.renew(directive.number(0)),
            "time-to-live" => self.time_to_live(directive.number(0)),
            "expired" if directive.has("count") => {
                format!("{} expired", self.lessor.expired(now_ms, max).len())
            }
            "expired" => listed("expired", &self.lessor.expired(now_ms, max)),
            "due-checkpoints" => {
                let due = self.lessor.due_checkpoints(now_ms, max);
                let due = due.iter().map(|one| format!("{}: {} s left", one.id, one.remaining_ttl));
                lines(due, "nothing is due")
            }
            "lease-of" => self.lease_of(directive.word(0)),
            "leases" => listed("leases", &self.lessor.leases()),
            "rows" => self.rows(),
            other => panic!("unknown command {other}"),
        }
    }

    /// One lease, or as many as `count` says with ids from the one named on.
    fn grant(&mut self, directive: &Directive) -> String {
        let (id, ttl): (i64, i64) = (directive.number(0), directive.get("ttl"));
        let count: i64 = directive.get("count");
        if count > 0 {
            for id in id..id + count {
                self.apply(|lessor, txn| lessor.grant(txn, id, ttl)).unwrap();
            }
            return format!("granted {count} leases of {ttl} s");
        }
        match self.apply(|lessor, txn| lessor.grant(txn, id, ttl)) {
            Ok(granted) => format!("granted {} s", granted.ttl),
            Err(refusal) => refused(refusal),
        }
    }

    fn revoke(&mut self, id: i64) -> String {
        match self.apply(|lessor, txn| lessor.revoke(txn, id)) {
            Ok(keys) => format!("revoked; to be deleted: {}", names(&keys)),
            Err(refusal) => refused(refusal),
        }
    }

    fn checkpoint(&mut self, directive: &Directive) -> String {
        let remaining_ttl = directive.get("left");
        let checkpoint = LeaseCheckpoint { id: directive.number(0), remaining_ttl };
        self.apply(|lessor, txn| lessor.checkpoint(txn, &[checkpoint]));
        "noted".into()
    }

    fn restart(&mut self, directive: &Directive) -> String {
        self.config.checkpoints = !directive.has("without-checkpoints");
        self.config.persist_checkpoints = self.config.checkpoints;
        self.lessor = Lessor::open(&self.backend.reader().view(), self.config);
        listed("leases", &self.lessor.leases())
    }

    /// A row as another program may have left it, found by the next start.
    fn store_foreign(&mut self, directive: &Directive) -> String {
        let id: i64 = directive.number(0);
        let row = proto::leasepb::Lease {
            id,
            ttl: directive.get("ttl"),
            remaining_ttl: directive.get("left"),
        };
        let row = row.encode_to_vec().into();
        self.apply(|_, txn| txn.put(Table::Lease, &id.to_be_bytes(), row));
        self.restart(directive)
    }

    fn renew(&mut self, id: i64) -> String {
        match self.lessor.renew(id, self.now_ms) {
            Ok(Renewal::Done { ttl_s }) => format!("renewed for {ttl_s} s"),
            Ok(Renewal::AfterCheckpoint) => "renewed here; the log must hear of it first".into(),
            Err(refusal) => refused(refusal),
        }
    }

    fn time_to_live(&self, id: i64) -> String {
        match self.lessor.time_to_live(id, self.now_ms, true) {
            Some(found) => format!(
                "{} s of {} s left; keys: {}",
                found.remaining_s,
                found.granted_s,
                names(&found.keys)
            ),
            None => "no such lease".into(),
        }
    }

    fn lease_of(&self, key: &str) -> String {
        match self.lessor.lease_of(key.as_bytes()) {
            Some(id) => format!("{key} belongs to lease {id}"),
            None => format!("{key} belongs to no lease"),
        }
    }

    /// When each lease's time is over, found by asking; nothing for many leases.
    fn expiries(&self) -> String {
        let ids = self.lessor.leases();
        if ids.len() > 10 {
            return format!("{} leases expire here", ids.len());
        }
        let left =
            |id: &i64| self.lessor.time_to_live(*id, self.now_ms, false).unwrap().remaining_s;
        lines(ids.iter().map(|id| format!("{id}: {} s left", left(id))), "no leases")
    }

    fn rows(&self) -> String {
        let mut text = String::new();
        self.backend.reader().view().range(Table::Lease, &[], &[], usize::MAX, |_, value| {
            let row = proto::leasepb::Lease::decode(value).unwrap();
            let _ = writeln!(text, "{}: {} s, {} s left", row.id, row.ttl, row.remaining_ttl);
            ControlFlow::Continue(())
        });
        if text.is_empty() { "no rows".into() } else { text }
    }
}

fn refused(refusal: Refusal) -> String {
    let why = match refusal {
        Refusal::NotFound => "requested lease not found",
        Refusal::Exists => "lease already exists",
        Refusal::TtlTooLarge => "too large lease TTL",
    };
    format!("refused: {why}")
}

fn names(keys: &[Bytes]) -> String {
    if keys.is_empty() {
        return "none".into();
    }
    keys.iter().map(|key| String::from_utf8_lossy(key)).collect::<Vec<_>>().join(" ")
}

fn listed(what: &str, ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    if ids.is_empty() { format!("{what}: none") } else { format!("{what}: {}", ids.join(" ")) }
}

fn lines(lines: impl Iterator<Item = String>, none: &str) -> String {
    let text: Vec<String> = lines.collect();
    if text.is_empty() { none.into() } else { text.join("\n") }
}
