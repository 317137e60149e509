//! The members a cluster begins with, as `--initial-cluster` names them.

use crate::{Member, cluster_id, member_id};
use address::{Urls, UrlsByName};
use std::fmt;

/// Names with their peer URLs, and the identities that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    /// Every member, with its name, by its id.
    pub members: Vec<Member>,
    /// The cluster's id.
    pub cluster_id: u64,
    /// The list as it was read.
    pub listed: UrlsByName,
}

impl InitialCluster {
    /// Reads `name=url,name=url`; a name may come again with another URL. The token may be any bytes.
    ///
    /// # Errors
    /// What is wrong with a URL.
    pub fn parse(list: &str, token: impl AsRef<[u8]>) -> Result<InitialCluster, address::Error> {
        Ok(InitialCluster::new(UrlsByName::parse(list)?, token))
    }

    /// The members of these names and peer URLs.
    pub fn new(listed: UrlsByName, token: impl AsRef<[u8]>) -> InitialCluster {
        let token = token.as_ref();
        let member = |(name, urls): (&str, &Urls)| {
            let peer_urls = urls.texts();
            let id = member_id(&peer_urls, token, None);
            Member { id, name: name.to_owned(), peer_urls, ..Member::default() }
        };
        let mut members: Vec<Member> = listed.iter().map(member).collect();
        members.sort_by_key(|member| member.id);
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        InitialCluster { cluster_id: cluster_id(&ids), members, listed }
    }

    /// The member of a name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

/// As [`InitialCluster::parse`] reads it, in order.
impl fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listed.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_follow_from_urls_as_go_writes_them() {
        let read = |list| InitialCluster::parse(list, "t");
        let two = read("a=HTTP://h:1,b=http://h:2,a=http://h:0").unwrap();
        assert_eq!(two.named("a").unwrap().peer_urls, ["http://h:0", "http://h:1"]);
        assert_eq!(two.members.len(), 2);
        assert_eq!(two, read("b=http://h:2,a=http://h:0,a=http://h:1").unwrap());
        assert_eq!(two.to_string(), "a=http://h:0,a=http://h:1,b=http://h:2");
        assert!(read("a").is_err() && read("").unwrap().members.is_empty());
    }
}
