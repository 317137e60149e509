//! The members a cluster begins with, as `--initial-cluster` names them.

use crate::{Member, cluster_id, member_id};
use std::collections::BTreeMap;
use thiserror::Error;

/// What is wrong with the list.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// An element is not `name=url`.
    #[error("{0:?} is not of the form name=url")]
    NotAPair(String),
    /// A URL belongs to two members.
    #[error("peer URL {0:?} is given twice")]
    DuplicateUrl(String),
    /// Nothing is listed.
    #[error("the list of members is empty")]
    Empty,
}

/// Names with their peer URLs, and the identities that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    /// Every member, with its name, by its id.
    pub members: Vec<Member>,
    /// The cluster's id.
    pub cluster_id: u64,
}

impl InitialCluster {
    /// Reads `name=url,name=url`; a name may come again with another URL.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(list: &str, token: &str) -> Result<InitialCluster, ParseError> {
        let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, url) =
                pair.split_once('=').ok_or_else(|| ParseError::NotAPair(pair.into()))?;
            if name.is_empty() || url.is_empty() {
                return Err(ParseError::NotAPair(pair.into()));
            }
            if !seen.insert(url) {
                return Err(ParseError::DuplicateUrl(url.into()));
            }
            by_name.entry(name).or_default().push(url.into());
        }
        if by_name.is_empty() {
            return Err(ParseError::Empty);
        }
        let named = by_name.into_iter().map(|(name, peer_urls)| (name.to_owned(), peer_urls));
        Ok(InitialCluster::new(named, token))
    }

    /// The members of these names and peer URLs.
    pub fn new(
        named: impl IntoIterator<Item = (String, Vec<String>)>,
        token: &str,
    ) -> InitialCluster {
        let mut members: Vec<Member> = Vec::new();
        for (name, mut peer_urls) in named {
            peer_urls.sort();
            let id = member_id(&peer_urls, token, None);
            members.push(Member { id, name, peer_urls, ..Member::default() });
        }
        members.sort_by_key(|member| member.id);
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        InitialCluster { cluster_id: cluster_id(&ids), members }
    }

    /// The member of a name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_checked() {
        let read = |list| InitialCluster::parse(list, "t");
        let two = read("a=http://h:1,b=http://h:2,a=http://h:0").unwrap();
        assert_eq!(two.named("a").unwrap().peer_urls, ["http://h:0", "http://h:1"]);
        assert_eq!(two.members.len(), 2);
        assert_eq!(read(""), Err(ParseError::Empty));
        assert_eq!(read("a"), Err(ParseError::NotAPair("a".into())));
        assert_eq!(read("a=u,b=u"), Err(ParseError::DuplicateUrl("u".into())));
    }
}
