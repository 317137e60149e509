//! Hashes whose clients have gone.

use crate::testing::{Bench, Told};
use net::rpc::Code;
use parking_lot::Mutex;
use proto::etcdserverpb::{HashKvRequest, HashKvResponse, HashRequest, PutRequest, PutResponse};
use std::sync::Arc;
use std::sync::mpsc::channel;

#[test]
fn nothing_is_hashed_for_clients_that_have_gone() {
    let bench = Bench::start();
    bench.until_it_leads();
    let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    let _: PutResponse = bench.call("/etcdserverpb.KV/Put", &put);
    // Every thread that could hash is busy.
    let (open, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    for _ in 0..8 {
        let gate = Arc::clone(&gate);
        bench.shared().services.in_hashes(move |_| {
            let _ = gate.lock().recv();
        });
    }
    let (hash, hash_kv) = ("/etcdserverpb.Maintenance/Hash", "/etcdserverpb.Maintenance/HashKV");
    let gone = [
        bench.begin(hash, &HashRequest::default()),
        bench.begin(hash_kv, &HashKvRequest::default()),
    ];
    let stays = bench.begin(hash_kv, &HashKvRequest::default());
    gone.iter().for_each(|client| client.leave());
    drop(open);
    let _: HashKvResponse = stays.message();
    for client in gone {
        let Told::End(status) = client.next() else { panic!("nobody waits for a hash") };
        assert_eq!(status.code, Code::Canceled);
    }
    let keys = &bench.shared().metrics.keys;
    assert_eq!((keys.hash.get_sample_count(), keys.hash_kv.get_sample_count()), (0, 1));
}
