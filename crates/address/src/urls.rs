//! Lists of URLs, and those of several members (etcd's `client/pkg/types`).

use crate::{Error, Quoting, Url, is_cut_through};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// URLs of a member, in the order of their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urls(Vec<Url>);

impl Urls {
    /// Reads URLs of a member; there must be one at least.
    ///
    /// # Errors
    /// What is wrong with the first that is none.
    pub fn new<S: AsRef<str>>(texts: &[S]) -> Result<Urls, Error> {
        if texts.is_empty() {
            return Err(Error::new("no valid URLs given"));
        }
        let urls: Result<Vec<Url>, Error> =
            texts.iter().map(|text| Url::of_member(text.as_ref())).collect();
        let mut urls = urls?;
        urls.sort();
        Ok(Urls(urls))
    }

    /// Reads URLs with commas between them.
    ///
    /// # Errors
    /// See [`Urls::new`]. Nothing between two commas is no URL.
    pub fn parse(list: &str) -> Result<Urls, Error> {
        Urls::new(&list.split(',').collect::<Vec<_>>()).map_err(|error| within(list, error))
    }

    /// Every one once.
    pub fn distinct(mut self) -> Urls {
        self.0.dedup();
        self
    }

    /// Their texts, in order.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Url::to_string).collect()
    }

    /// One after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, Url> {
        self.0.iter()
    }
}

impl<'u> IntoIterator for &'u Urls {
    type Item = &'u Url;
    type IntoIter = std::slice::Iter<'u, Url>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for Urls {
    type Item = Url;
    type IntoIter = std::vec::IntoIter<Url>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(","))
    }
}

/// What is wrong with a piece of a list. Where commas cut through a password, pieces are not shown.
fn within(list: &str, error: Error) -> Error {
    match is_cut_through(list) {
        true => Error::quoting(|quoting| match quoting {
            Quoting::Shown => format!("{} is no list of URLs", quoting.quoted(list)),
            Quoting::Exact => error.exact().to_owned(),
        }),
        false => error,
    }
}

/// Members' names and their URLs, as `--initial-cluster` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlsByName(BTreeMap<String, Urls>);

impl UrlsByName {
    /// Reads `name=url,name=url`; a name may come again with another URL. Nothing between two commas is
    /// passed over; without `=` it is a name without a URL, which is refused.
    ///
    /// # Errors
    /// What is wrong with a URL.
    pub fn parse(list: &str) -> Result<UrlsByName, Error> {
        let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pair in list.split(',').filter(|pair| !pair.is_empty()) {
            let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
            texts.entry(name).or_default().push(url);
        }
        let read = |(name, urls): (&str, Vec<&str>)| Ok((name.to_owned(), Urls::new(&urls)?));
        let named: Result<BTreeMap<String, Urls>, Error> = texts.into_iter().map(read).collect();
        Ok(UrlsByName(named.map_err(|error| within(list, error))?))
    }

    /// The URLs of a member.
    pub fn get(&self, name: &str) -> Option<&Urls> {
        self.0.get(name)
    }

    /// Whether a URL is there twice.
    pub fn has_duplicate_url(&self) -> bool {
        let mut seen = BTreeSet::new();
        !self.0.values().flatten().all(|url| seen.insert(url))
    }

    /// Names and URLs, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Urls)> {
        self.0.iter().map(|(name, urls)| (name.as_str(), urls))
    }
}

/// One member alone.
impl From<(&str, Urls)> for UrlsByName {
    fn from((name, urls): (&str, Urls)) -> UrlsByName {
        UrlsByName([(name.to_owned(), urls)].into())
    }
}

/// As [`UrlsByName::parse`] reads it, in the order of the pairs.
impl fmt::Display for UrlsByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |name: &str, url: &Url| format!("{name}={url}");
        let named = self.0.iter();
        let mut pairs: Vec<String> =
            named.flat_map(|(name, urls)| urls.iter().map(|url| pair(name, url))).collect();
        pairs.sort();
        f.write_str(&pairs.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_may_repeat() {
        let urls = Urls::parse("http://b:1, HTTP://a:1,http://a:1").unwrap();
        assert_eq!(urls.to_string(), "http://a:1,http://a:1,http://b:1");
        assert_eq!(urls.distinct().to_string(), "http://a:1,http://b:1");
        let scheme = "URL scheme must be http, https, unix, or unixs: ";
        for list in ["http://a:1,", "", ",http://a:1"] {
            assert_eq!(Urls::parse(list).unwrap_err().to_string(), scheme);
        }
        assert_eq!(Urls::new::<&str>(&[]).unwrap_err().to_string(), "no valid URLs given");
    }

    #[test]
    fn commas_in_a_password_do_not_give_it_away() {
        let list = "m=http://u:s3,cret@a:1,n=http://b:2";
        for error in [UrlsByName::parse(list).unwrap_err(), Urls::parse(list).unwrap_err()] {
            assert!(!format!("{error} {error:?}").contains("s3"), "{error}");
        }
        let error = UrlsByName::parse(list).unwrap_err();
        assert_eq!(error.to_string(), "\"m=http://u:xxxxx@a:1,n=http://b:2\" is no list of URLs");
        assert_eq!(error.exact(), "URL scheme must be http, https, unix, or unixs: ");
    }

    #[test]
    fn members_are_named_before_their_urls() {
        let named = UrlsByName::parse(",b=http://h:2,a=http://h:1,a=http://h:0,").unwrap();
        assert_eq!(named.to_string(), "a=http://h:0,a=http://h:1,b=http://h:2");
        assert_eq!(named.get("a").unwrap().texts(), ["http://h:0", "http://h:1"]);
        assert!(!named.has_duplicate_url() && named.get("c").is_none());
        assert!(UrlsByName::parse("a=http://h:1,b=HTTP://h:1").unwrap().has_duplicate_url());
        assert_eq!(UrlsByName::parse("=http://h:1").unwrap().to_string(), "=http://h:1");
        assert_eq!(UrlsByName::parse("").unwrap().iter().count(), 0);
        for list in ["a", "a=", "a=b=http://h:1"] {
            assert!(UrlsByName::parse(list).is_err(), "{list}");
        }
    }
}
