//! Identities: the same everywhere, because they follow from what everyone was told.

use sha1::{Digest, Sha1};

/// A member's id: from its peer URLs, the cluster's token and, for one added to a running cluster
/// (which then has an empty token), the time in seconds.
pub fn member_id(peer_urls: &[String], token: impl AsRef<[u8]>, unix_s: Option<i64>) -> u64 {
    let mut urls = peer_urls.to_vec();
    urls.sort();
    let mut hash = Sha1::new();
    for url in &urls {
        hash.update(url);
    }
    hash.update(token);
    if let Some(seconds) = unix_s {
        hash.update(seconds.to_string());
    }
    first_eight(hash)
}

/// The cluster's id: from the ids of its first members.
pub fn cluster_id(members: &[u64]) -> u64 {
    let mut ids = members.to_vec();
    ids.sort_unstable();
    let mut hash = Sha1::new();
    for id in ids {
        hash.update(id.to_be_bytes());
    }
    first_eight(hash)
}

fn first_eight(hash: Sha1) -> u64 {
    let sum = hash.finalize();
    u64::from_be_bytes(sum[..8].try_into().expect("SHA-1 has twenty bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_a_default_etcd() {
        let id = member_id(&["http://localhost:2380".into()], "etcd-cluster", None);
        assert_eq!(format!("{id:x}"), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", cluster_id(&[id])), "cdf818194e3a8c32");
    }
}
