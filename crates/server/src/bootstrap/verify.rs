//! What is wrong with a list of first members, in the words of etcd
//! (reference: `server/config/config.go`).

use super::urls::{Resolver, same};
use apply::membership::InitialCluster;
use std::collections::{BTreeMap, BTreeSet};

/// # Errors
/// This member is not on the list.
pub(super) fn has_local_member(initial: &InitialCluster, name: &str) -> Result<(), String> {
    match initial.named(name) {
        Some(_) => Ok(()),
        None => {
            Err(format!("couldn't find local name {name:?} in the initial cluster configuration"))
        }
    }
}

/// # Errors
/// The list is no good for a new cluster.
pub(super) fn beginning(
    initial: &InitialCluster,
    name: &str,
    advertised: &[String],
) -> Result<(), String> {
    advertise_matches(initial, name, advertised, &Resolver::system())?;
    no_duplicates(initial)
}

/// # Errors
/// The list is no good for joining a cluster.
pub(super) fn joining(initial: &InitialCluster, discovers: bool) -> Result<(), String> {
    no_duplicates(initial)?;
    if discovers {
        return Err("discovery URL should not be set when joining existing initial cluster".into());
    }
    Ok(())
}

/// # Errors
/// Two members have the same id: they have the same URLs.
pub(super) fn distinct_ids(initial: &InitialCluster) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for member in &initial.members {
        if seen.insert(member.id, &member.name).is_some() {
            return Err(format!("member exists with identical ID {:x}", member.id));
        }
    }
    Ok(())
}

fn no_duplicates(initial: &InitialCluster) -> Result<(), String> {
    if initial.has_duplicate_url() {
        return Err(format!("initial cluster {initial} has duplicate url"));
    }
    Ok(())
}

/// What this member tells of itself is what the list says of it.
fn advertise_matches(
    initial: &InitialCluster,
    name: &str,
    advertised: &[String],
    resolver: &Resolver<'_>,
) -> Result<(), String> {
    let listed = initial.named(name).map(|member| member.peer_urls.clone()).unwrap_or_default();
    let Err(why) = same(advertised, &listed, resolver) else { return Ok(()) };
    let set = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<String>>();
    let (listed, told) = (set(&listed), set(advertised));
    let named = |urls: Vec<&String>| {
        let pairs: Vec<String> = urls.iter().map(|url| format!("{name}={url}")).collect();
        pairs.join(",")
    };
    let mut all: Vec<String> = advertised.to_vec();
    all.sort();
    let (all, own) = (all.join(","), named(advertised.iter().collect()));
    let missing: Vec<&String> = listed.difference(&told).collect();
    if !missing.is_empty() {
        return Err(format!(
            "--initial-cluster has {} but missing from --initial-advertise-peer-urls={all} ({why})",
            named(missing)
        ));
    }
    let missing: Vec<String> = told.difference(&listed).cloned().collect();
    if !missing.is_empty() {
        return Err(format!(
            "--initial-advertise-peer-urls has {} but missing from --initial-cluster={own}",
            missing.join(",")
        ));
    }
    Err(format!("failed to resolve {all} to match --initial-cluster={own} ({why})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_etcd() {
        let list = |text| InitialCluster::parse(text, "t").unwrap();
        let names = |host: &str| Err(format!("lookup {host}: no such host"));
        let check = |initial, advertised: &[&str]| {
            let advertised: Vec<String> = advertised.iter().map(|&url| url.into()).collect();
            advertise_matches(&list(initial), "a", &advertised, &Resolver::once(&names))
        };
        assert_eq!(check("a=http://1.1.1.1:1", &["http://1.1.1.1:1"]), Ok(()));
        assert_eq!(
            check("a=http://1.1.1.1:1", &["http://1.1.1.1:2"]).unwrap_err(),
            "--initial-cluster has a=http://1.1.1.1:1 but missing from \
             --initial-advertise-peer-urls=http://1.1.1.1:2 \
             (resolved urls: \"http://1.1.1.1:2\" != \"http://1.1.1.1:1\")"
        );
        assert_eq!(
            check("a=http://1.1.1.1:1", &["http://1.1.1.1:1", "http://1.1.1.1:2"]).unwrap_err(),
            "--initial-advertise-peer-urls has http://1.1.1.1:2 but missing from \
             --initial-cluster=a=http://1.1.1.1:1,a=http://1.1.1.1:2"
        );
        assert_eq!(
            has_local_member(&list("a=http://h:1"), "m").unwrap_err(),
            "couldn't find local name \"m\" in the initial cluster configuration"
        );
        let twice = list("a=http://h:1,b=http://h:1");
        assert_eq!(
            joining(&twice, false).unwrap_err(),
            "initial cluster a=http://h:1,b=http://h:1 has duplicate url"
        );
        assert!(distinct_ids(&twice).unwrap_err().starts_with("member exists with identical ID"));
    }
}
