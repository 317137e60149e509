//! Kinds of values, each read once: from the text of a flag or variable, or from a value in the
//! configuration file. What each takes and refuses is the reference's (Go's `flag` and
//! `encoding/json`, etcd's `pkg/flags`).

use super::yaml::Node;
use cli::go;
use cli::number::{self, NumberError};
use client::Secret;
use std::ffi::{OsStr, OsString};
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

    /// Whether the value is a secret, and not shown where it is refused either.
    fn is_secret(&self) -> bool {
        false
    }
}

/// A value that was refused for `reason`, and that reason, as both may be shown: no passwords of URLs, no
/// secrets. `setting` is not used any more.
pub(super) fn refused(
    setting: &mut dyn Setting,
    value: &OsStr,
    reason: String,
) -> (String, String) {
    if setting.is_secret() {
        return ("\"xxxxx\"".into(), reason);
    }
    let text = value.to_string_lossy();
    let shown = address::redacted(&text);
    if shown == text {
        return (go::quote(value.as_encoded_bytes()), reason);
    }
    // Some reasons quote the value. Those of URLs hide its passwords themselves, and do not recur.
    let reason = setting.set_text(OsStr::new(&shown)).err().unwrap_or(reason);
    (go::quote(shown.as_bytes()), reason)
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

/// A kind of number: what its texts are, and what Go calls it.
macro_rules! number {
    ($kind:ty, $name:literal, $read:expr) => {
        impl Setting for $kind {
            fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
                // What is no UTF-8 is no number, as nothing is none.
                let read: fn(&str) -> Result<$kind, String> = $read;
                *self = read(text.to_str().unwrap_or_default())?;
                Ok(())
            }

            fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
                *self = whole(node, $name)?;
                Ok(())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    };
}

number!(u64, "uint", |text| number::unsigned(text).map_err(plain_words));
number!(i64, "int", |text| number::signed(text).map_err(plain_words));
number!(u32, "uint32", |text| {
    let value = number::unsigned(text);
    let value = value.and_then(|value| u32::try_from(value).map_err(|_| NumberError::Range));
    value.map_err(|error| {
        let text = go::quote(text.as_bytes());
        let reason = match error {
            NumberError::Syntax => "invalid syntax",
            NumberError::Range => "value out of range",
        };
        format!("strconv.ParseUint: parsing {text}: {reason}")
    })
});

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

/// A kind of text: what is made of it, and what of that is shown.
macro_rules! text {
    ($kind:ty, $is_secret:literal, $make:expr, $show:expr) => {
        impl Setting for $kind {
            fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
                let make: fn(&str) -> $kind = $make;
                *self = make(utf8(text)?);
                Ok(())
            }

            fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
                let make: fn(&str) -> $kind = $make;
                *self = make(string(node)?);
                Ok(())
            }

            fn show(&self) -> String {
                let show: fn(&$kind) -> String = $show;
                show(self)
            }

            fn is_secret(&self) -> bool {
                $is_secret
            }
        }
    };
}

text!(String, false, str::to_owned, String::clone);
text!(Option<String>, false, given, |text| text.clone().unwrap_or_default());
text!(Secret, true, secret, |_| String::new());
text!(User, true, User::read, |user| user.name.clone());

/// Not set is something else than empty.
fn given(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn secret(text: &str) -> Secret {
    text.into()
}

/// A kind of text that may hold any bytes.
macro_rules! bytes {
    ($kind:ty) => {
        impl Setting for $kind {
            fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
                *self = text.into();
                Ok(())
            }

            fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
                *self = string(node)?.into();
                Ok(())
            }

            fn show(&self) -> String {
                self.display().to_string()
            }
        }
    };
}

bytes!(PathBuf);
bytes!(OsString);

/// `name[:password]`, of which the password is never shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: Option<Secret>,
}

impl User {
    fn read(text: &str) -> User {
        match text.split_once(':') {
            Some((name, password)) => User { name: name.into(), password: Some(password.into()) },
            None => User { name: text.into(), password: None },
        }
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
        let mut word = OsString::new();
        word.set_text(bytes).unwrap();
        assert_eq!(word, bytes);
        assert_eq!(String::new().set_text(bytes).unwrap_err(), "not UTF-8");
        assert_eq!(0_u64.set_text(bytes).unwrap_err(), "parse error");
        assert_eq!(true.set_text(bytes).unwrap_err(), "parse error");
    }

    #[test]
    fn what_is_refused_is_shown_without_its_secrets() {
        let shown = |mut setting: Box<dyn Setting>, value: &[u8]| {
            let value = OsStr::from_bytes(value);
            let reason = setting.set_text(value).unwrap_err();
            let (value, reason) = refused(&mut *setting, value, reason);
            format!("{value}: {reason}")
        };
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(shown(Box::<Secret>::default(), b"pw\xe9"), "\"xxxxx\": not UTF-8");
        assert_eq!(shown(Box::<User>::default(), b"root:pw\xe9"), "\"xxxxx\": not UTF-8");
        assert_eq!(shown(Box::new(0_u64), b"u:pw@h"), "\"u:xxxxx@h\": parse error");
        let number = shown(Box::new(0_u32), b"u:pw@h");
        assert!(number.contains("parsing \"u:xxxxx@h\"") && !number.contains("pw"), "{number}");
        for value in
            ["http://u:pw@h:x", "http://u:pw/x@h:1", "http://u:pw@h:1,http://h", "u:pw@h:1"]
        {
            let text = shown(Box::<super::super::lists::Urls>::default(), value.as_bytes());
            assert!(text.contains("u:xxxxx@h") && !text.contains("pw"), "{text}");
        }
        assert_eq!(shown(Box::<String>::default(), b"\xe9"), "\"\\xe9\": not UTF-8");
    }
}
