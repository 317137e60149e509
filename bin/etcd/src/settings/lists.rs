//! Lists: of texts, of URLs, of who may ask.

use super::values::{Setting, Unfit, string, utf8};
use super::yaml::Node;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// `a,b,...` as a flag, a list in the file. An empty text is a list of one empty item.
impl Setting for Vec<String> {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        *self = utf8(text)?.split(',').map(str::to_owned).collect();
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        let Node::List(items) = node else {
            return Err(Unfit::kind(node, "[]string"));
        };
        let items = items.iter().filter(|item| **item != Node::Null);
        *self = items.map(|item| string(item).map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn show(&self) -> String {
        self.join(",")
    }
}

/// The same, where each counts once and flags put them in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unique(pub(crate) Vec<String>);

impl Setting for Unique {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        self.0.set_text(text)?;
        self.0.sort();
        self.0.dedup();
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        self.0.set_node(node)
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

/// The same, of texts that may hold any bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UniqueBytes(pub(crate) Vec<OsString>);

impl Setting for UniqueBytes {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        let items = text.as_bytes().split(|byte| *byte == b',');
        self.0 = items.map(|item| OsStr::from_bytes(item).to_owned()).collect();
        self.0.sort();
        self.0.dedup();
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        let mut items = Vec::<String>::new();
        items.set_node(node)?;
        self.0 = items.into_iter().map(OsString::from).collect();
        Ok(())
    }

    fn show(&self) -> String {
        let items: Vec<String> = self.0.iter().map(|item| item.display().to_string()).collect();
        items.join(",")
    }
}

/// URLs, `a,b,...`, also in the file. An empty list leaves what was there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Urls {
    /// In their order, each once.
    pub(crate) list: address::Urls,
    /// Whether a flag or a variable said so.
    pub(crate) is_given: bool,
}

/// URLs as etcd reads, writes and sorts them, each once.
fn distinct(list: &str) -> Result<address::Urls, String> {
    let read = address::Urls::parse(list).map(address::Urls::distinct);
    read.map_err(|error| error.to_string())
}

impl Urls {
    /// The URLs that a text of the program has.
    pub(crate) fn new(list: &str) -> Urls {
        Urls { list: distinct(list).expect("defaults are URLs"), is_given: false }
    }

    fn read(&mut self, list: &str) -> Result<(), String> {
        if !list.is_empty() {
            self.list = distinct(list)?;
        }
        Ok(())
    }
}

impl Setting for Urls {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        self.read(utf8(text)?)?;
        self.is_given = true;
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        self.read(string(node)?).map_err(Unfit::Value)
    }

    fn show(&self) -> String {
        self.list.to_string()
    }
}

/// Who may ask, `a,b,...`, also in the file; `*` and, in the file, nothing mean anyone.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    pub(crate) list: Vec<String>,
    /// Whether each is `*` or a URL.
    are_urls: bool,
}

impl Allowed {
    pub(crate) fn anyone(are_urls: bool) -> Allowed {
        Allowed { list: vec!["*".into()], are_urls }
    }

    /// Whether nobody is kept out.
    pub(crate) fn is_anyone(&self) -> bool {
        self.list.iter().all(|item| item.is_empty() || item == "*")
    }

    fn read(&mut self, text: &str) -> Result<(), String> {
        if self.are_urls && text != "*" {
            distinct(text)?;
        }
        self.list = text.split(',').map(str::to_owned).collect();
        Ok(())
    }
}

impl Setting for Allowed {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        self.read(utf8(text)?)
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        match string(node)? {
            "" => Ok(()),
            text => self.read(text).map_err(Unfit::Value),
        }
    }

    fn show(&self) -> String {
        self.list.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text makes of a list.
    fn read<S: Setting>(mut list: S, text: &str) -> Result<String, String> {
        list.set_text(OsStr::new(text)).map(|()| list.show())
    }

    /// What a value of the file makes of it.
    fn take<S: Setting>(mut list: S, node: Node) -> Result<String, Unfit> {
        list.set_node(&node).map(|()| list.show())
    }

    fn text(text: &str) -> Node {
        Node::Text(text.into())
    }

    fn unfit(found: &str, wanted: &'static str) -> Unfit {
        Unfit::Kind { found: found.into(), wanted }
    }

    #[test]
    fn lists_are_texts_as_flags_and_lists_in_the_file() {
        let list = || Vec::<String>::new();
        assert_eq!(take(list(), text("a")), Err(unfit("string", "[]string")));
        let items = vec![text("b"), Node::Null, text("a")];
        assert_eq!(take(list(), Node::List(items)), Ok("b,a".into()));
        let numbers = Node::List(vec![Node::Integer(1)]);
        assert_eq!(take(list(), numbers), Err(unfit("number", "string")));
        assert_eq!(read(Unique::default(), "b,a,b").as_deref(), Ok("a,b"));
        let mut empty = list();
        empty.set_text(OsStr::new("")).unwrap();
        assert_eq!(empty, [""]);
    }

    #[test]
    fn urls_stay_where_nothing_is_said() {
        let urls = || Urls::new("http://127.0.0.1:1");
        let mut said = urls();
        said.set_text(OsStr::new("")).unwrap();
        assert_eq!((said.show().as_str(), said.is_given), ("http://127.0.0.1:1", true));
        assert_eq!(take(urls(), text("")).as_deref(), Ok("http://127.0.0.1:1"));
        assert!(read(urls(), "x").is_err());
    }

    #[test]
    fn anyone_may_ask_unless_it_is_said_who() {
        let anyone = || Allowed::anyone(true);
        assert_eq!(read(anyone(), "*").as_deref(), Ok("*"));
        assert!(read(anyone(), "").is_err() && read(anyone(), "x").is_err());
        assert_eq!(take(anyone(), text("")).as_deref(), Ok("*"));
        let mut hosts = Allowed::anyone(false);
        hosts.set_text(OsStr::new("a,b")).unwrap();
        assert!(!hosts.is_anyone() && anyone().is_anyone());
    }
}
