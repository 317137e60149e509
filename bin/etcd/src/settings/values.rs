//! Kinds of values, each read once: from the text of a flag or variable, or from a value in the
//! configuration file. What each takes and refuses is the reference's (Go's `flag` and
//! `encoding/json`, etcd's `pkg/flags`).

use super::yaml::Node;
use cli::go;
use cli::number::{self, NumberError};
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why a value in the file is none for its setting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is of another kind, or beyond what the kind can be.
    Kind { found: String, wanted: &'static str },
    /// It says nothing that the setting knows.
    Value(String),
}

impl Unfit {
    pub(super) fn kind(node: &Node, wanted: &'static str) -> Unfit {
        Unfit::Kind { found: node.kind().into(), wanted }
    }
}

/// A field that flags, variables and files set.
pub(crate) trait Setting {
    /// Reads the text of a flag or a variable.
    ///
    /// # Errors
    /// Why it is refused, in the words of the reference.
    fn set_text(&mut self, text: &OsStr) -> Result<(), String>;

    /// Takes a value of the file, which is not null.
    ///
    /// # Errors
    /// See [`Unfit`].
    fn set_node(&mut self, node: &Node) -> Result<(), Unfit>;

    /// The value as a flag would have it.
    fn show(&self) -> String;

    /// Whether the flag may stand without a value.
    fn is_switch(&self) -> bool {
        false
    }
}

pub(super) fn utf8(text: &OsStr) -> Result<&str, String> {
    text.to_str().ok_or_else(|| "not UTF-8".into())
}

pub(super) fn string(node: &Node) -> Result<&str, Unfit> {
    match node {
        Node::Text(text) => Ok(text),
        node => Err(Unfit::kind(node, "string")),
    }
}

impl Setting for bool {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        let value = text.to_str().and_then(|text| go::parse_bool(text).ok());
        *self = value.ok_or("parse error")?;
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        match node {
            Node::Bool(value) => *self = *value,
            node => return Err(Unfit::kind(node, "bool")),
        }
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn is_switch(&self) -> bool {
        true
    }
}

/// What Go's `flag` says of a number.
fn plain_words(error: NumberError) -> String {
    match error {
        NumberError::Syntax => "parse error".into(),
        NumberError::Range => "value out of range".into(),
    }
}

/// A whole number in the file: without a fraction, but `5.0` and `1e3` are whole.
fn whole<N: TryFrom<i128>>(node: &Node, wanted: &'static str) -> Result<N, Unfit> {
    // What JSON writes without an exponent.
    let is_whole = |value: f64| value.fract() == 0.0 && value.abs() < 1e21;
    let (value, shown) = match node {
        Node::Integer(value) => (Some(*value), value.to_string()),
        Node::Float(value) => (is_whole(*value).then_some(*value as i128), value.to_string()),
        node => return Err(Unfit::kind(node, wanted)),
    };
    let fitting = value.and_then(|value| N::try_from(value).ok());
    fitting.ok_or_else(|| Unfit::Kind { found: format!("number {shown}"), wanted })
}

impl Setting for u64 {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        *self = number::unsigned(text.to_str().unwrap_or_default()).map_err(plain_words)?;
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = whole(node, "uint")?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        let value = number::unsigned(text.to_str().unwrap_or_default());
        let value = value.and_then(|value| u32::try_from(value).map_err(|_| NumberError::Range));
        *self = value.map_err(|error| {
            let text = go::quote(text.as_encoded_bytes());
            let reason = match error {
                NumberError::Syntax => "invalid syntax",
                NumberError::Range => "value out of range",
            };
            format!("strconv.ParseUint: parsing {text}: {reason}")
        })?;
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = whole(node, "uint32")?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for i64 {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        *self = number::signed(text.to_str().unwrap_or_default()).map_err(plain_words)?;
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = whole(node, "int")?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// A duration, which may be negative; a whole number of nanoseconds in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nanos(pub(crate) i64);

impl Nanos {
    pub(crate) const fn seconds(count: i64) -> Nanos {
        Nanos(count * 1_000_000_000)
    }

    pub(crate) const fn milliseconds(count: i64) -> Nanos {
        Nanos(count * 1_000_000)
    }

    /// The duration; none where it is nothing or less.
    pub(crate) fn positive(self) -> Option<Duration> {
        u64::try_from(self.0).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", go::duration(Duration::from_nanos(self.0.unsigned_abs())))
    }
}

impl Setting for Nanos {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        let nanos = text.to_str().and_then(|text| number::nanoseconds(text).ok());
        *self = Nanos(nanos.ok_or("parse error")?);
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = Nanos(whole(node, "time.Duration")?);
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        *self = utf8(text)?.to_owned();
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = string(node)?.to_owned();
        Ok(())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// A path may hold any bytes.
impl Setting for PathBuf {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        *self = PathBuf::from(text);
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = PathBuf::from(string(node)?);
        Ok(())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// Not set is something else than empty.
impl Setting for Option<String> {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        *self = Some(utf8(text)?.to_owned());
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = Some(string(node)?.to_owned());
        Ok(())
    }

    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

/// A text that is never shown.
#[derive(Clone, Default)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Setting for Secret {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        self.0.set_text(text)
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        self.0.set_node(node)
    }

    fn show(&self) -> String {
        String::new()
    }
}

/// `name[:password]`, of which the password is never shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: Option<Secret>,
}

impl User {
    fn read(&mut self, text: &str) {
        *self = match text.split_once(':') {
            Some((name, password)) => {
                User { name: name.into(), password: Some(Secret(password.into())) }
            }
            None => User { name: text.into(), password: None },
        };
    }
}

impl Setting for User {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        self.read(utf8(text)?);
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        self.read(string(node)?);
        Ok(())
    }

    fn show(&self) -> String {
        self.name.clone()
    }
}

/// What is one of a few words.
pub(crate) trait Word: Sized {
    /// # Errors
    /// Why the text is none of them.
    fn parse(text: &str) -> Result<Self, String>;

    /// The same for a text of the file, where the reference is less strict with some.
    ///
    /// # Errors
    /// As [`Word::parse`].
    fn parse_in_file(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// One of a few words; another one is a wrong flag.
#[derive(Clone, Debug)]
pub(crate) struct Choice<W> {
    text: String,
    pub(crate) value: W,
}

impl<W: Word> Choice<W> {
    /// The value that a word of the program has.
    pub(crate) fn new(text: &str) -> Choice<W> {
        let value = W::parse(text).expect("defaults are words");
        Choice { text: text.into(), value }
    }
}

impl<W: Word> Setting for Choice<W> {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        let text = utf8(text)?;
        *self = Choice { value: W::parse(text)?, text: text.into() };
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        let text = string(node)?;
        *self = Choice { value: W::parse_in_file(text).map_err(Unfit::Value)?, text: text.into() };
        Ok(())
    }

    fn show(&self) -> String {
        self.text.clone()
    }
}

/// One of a few words; another one is told when all settings are checked together, so that the last
/// of several flags counts, as in the reference.
#[derive(Clone, Debug)]
pub(crate) struct Checked<W> {
    text: String,
    value: Result<W, String>,
}

impl<W: Word + Clone> Checked<W> {
    /// What a word means.
    pub(crate) fn new(text: &str) -> Checked<W> {
        Checked { text: text.into(), value: W::parse(text) }
    }

    /// # Errors
    /// Why the word is none.
    pub(crate) fn get(&self) -> Result<W, String> {
        self.value.clone()
    }
}

impl<W: Word + Clone> Setting for Checked<W> {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        *self = Checked::new(utf8(text)?);
        Ok(())
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        *self = Checked::new(string(node)?);
        Ok(())
    }

    fn show(&self) -> String {
        self.text.clone()
    }
}

/// What was a flag once: taken with any value or none, and nothing follows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ignored;

impl Setting for Ignored {
    fn set_text(&mut self, _: &OsStr) -> Result<(), String> {
        Ok(())
    }

    fn set_node(&mut self, _: &Node) -> Result<(), Unfit> {
        Ok(())
    }

    fn show(&self) -> String {
        String::new()
    }

    fn is_switch(&self) -> bool {
        true
    }
}

/// Sets a field from a text that the program itself has.
#[cfg(test)]
pub(crate) fn set(setting: &mut dyn Setting, text: &str) -> Result<(), String> {
    setting.set_text(OsStr::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text makes of a value.
    fn read<S: Setting>(mut setting: S, text: &str) -> Result<String, String> {
        set(&mut setting, text).map(|()| setting.show())
    }

    /// What a value of the file makes of it.
    fn take<S: Setting>(mut setting: S, node: Node) -> Result<String, String> {
        match setting.set_node(&node) {
            Ok(()) => Ok(setting.show()),
            Err(Unfit::Kind { found, wanted }) => Err(format!("{found} for {wanted}")),
            Err(Unfit::Value(text)) => Err(text),
        }
    }

    fn text(text: &str) -> Node {
        Node::Text(text.into())
    }

    #[test]
    fn booleans_are_those_of_go() {
        for yes in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(read(false, yes).as_deref(), Ok("true"), "{yes}");
        }
        for no in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(read(true, no).as_deref(), Ok("false"), "{no}");
        }
        for neither in ["", "yes", "no", "on", "tRUE", " true", "2"] {
            assert_eq!(read(true, neither).unwrap_err(), "parse error", "{neither}");
        }
        assert_eq!(take(false, Node::Bool(true)).as_deref(), Ok("true"));
        assert_eq!(take(false, text("true")).unwrap_err(), "string for bool");
        assert_eq!(take(false, Node::Integer(1)).unwrap_err(), "number for bool");
    }

    #[test]
    fn numbers_are_those_of_go() {
        assert_eq!(read(0_u64, "0x10").as_deref(), Ok("16"));
        assert_eq!(read(0_u64, "-1").unwrap_err(), "parse error");
        assert_eq!(read(0_u64, "99999999999999999999").unwrap_err(), "value out of range");
        assert_eq!(read(0_i64, "-1_0").as_deref(), Ok("-10"));
        let wrong = read(0_u32, "4294967296").unwrap_err();
        assert_eq!(wrong, "strconv.ParseUint: parsing \"4294967296\": value out of range");
        assert_eq!(take(0_u64, Node::Float(5.0)).as_deref(), Ok("5"));
        assert_eq!(take(0_u64, Node::Float(5.5)).unwrap_err(), "number 5.5 for uint");
        assert_eq!(take(0_u64, Node::Integer(-1)).unwrap_err(), "number -1 for uint");
        assert_eq!(take(0_u64, text("5")).unwrap_err(), "string for uint");
        assert_eq!(
            take(0_u32, Node::Integer(1 << 32)).unwrap_err(),
            "number 4294967296 for uint32"
        );
    }

    #[test]
    fn durations_have_units_as_flags_and_none_in_the_file() {
        assert_eq!(read(Nanos(0), "1h30m").as_deref(), Ok("1h30m0s"));
        assert_eq!(read(Nanos(0), "-1s").as_deref(), Ok("-1s"));
        for wrong in ["5", "", "5 apples", "99999999h"] {
            assert_eq!(read(Nanos(0), wrong).unwrap_err(), "parse error", "{wrong}");
        }
        assert_eq!(take(Nanos(0), Node::Integer(5_000_000_000)).as_deref(), Ok("5s"));
        assert_eq!(take(Nanos(0), text("5s")).unwrap_err(), "string for time.Duration");
        assert_eq!((Nanos(-1).positive(), Nanos(0).positive()), (None, None));
    }

    #[test]
    fn texts_are_no_numbers() {
        assert_eq!(take(String::new(), Node::Integer(5)).unwrap_err(), "number for string");
        assert_eq!(take(String::new(), text("5")).as_deref(), Ok("5"));
    }

    #[cfg(unix)]
    #[test]
    fn any_bytes_may_come() {
        use std::os::unix::ffi::OsStrExt;
        let bytes = OsStr::from_bytes(b"\xe9");
        let mut path = PathBuf::new();
        path.set_text(bytes).unwrap();
        assert_eq!(path.as_os_str(), bytes);
        assert_eq!(String::new().set_text(bytes).unwrap_err(), "not UTF-8");
        assert_eq!(0_u64.set_text(bytes).unwrap_err(), "parse error");
        assert_eq!(true.set_text(bytes).unwrap_err(), "parse error");
    }
}
