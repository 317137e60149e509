//! One command of a script, and what stands behind it.

use std::str::FromStr;

/// One command with its arguments, its input and the output that is expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directive {
    /// File and line.
    pub place: String,
    /// The first word.
    pub command: String,
    /// The words behind the first.
    pub args: Vec<Arg>,
    /// The lines between the command and the separator, without white space at either end.
    pub input: String,
    /// The recorded output.
    pub expected: String,
}

/// One word behind a command: `key`, `key=value` or `key=(value, value)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The word, up to an equals sign.
    pub key: String,
    /// What stands behind the equals sign; empty without one.
    pub values: Vec<String>,
}

impl Directive {
    /// Reads one line as a command: for the lines of an input that are commands themselves.
    ///
    /// # Panics
    /// A parenthesis is not closed.
    pub fn from_line(place: &str, line: &str) -> Directive {
        let (command, args) = parse_line(line.trim())
            .unwrap_or_else(|| panic!("{place}: a parenthesis is not closed in {line:?}"));
        Directive { place: place.to_owned(), command, args, ..Directive::default() }
    }

    /// The words that have no value, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.args.iter().filter(|arg| arg.values.is_empty()).map(|arg| arg.key.as_str())
    }

    /// The word at a place among those without a value.
    ///
    /// # Panics
    /// There are fewer words.
    pub fn word(&self, place: usize) -> &str {
        self.words()
            .nth(place)
            .unwrap_or_else(|| panic!("{}: {} needs more words", self.place, self.command))
    }

    /// Whether a word without a value is there.
    pub fn has(&self, word: &str) -> bool {
        self.words().any(|found| found == word)
    }

    /// The values of a key; empty where the key is missing.
    pub fn values(&self, key: &str) -> &[String] {
        self.args.iter().find(|arg| arg.key == key).map_or(&[], |arg| &arg.values)
    }

    /// The first value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values(key).first().map(String::as_str)
    }

    /// The first value of a key, read as a number or another type; the default where the key is missing.
    ///
    /// # Panics
    /// The value cannot be read as one.
    pub fn get<T: FromStr + Default>(&self, key: &str) -> T {
        self.value(key).map(|text| self.parse(text)).unwrap_or_default()
    }

    /// The word at a place, read as a number or another type.
    ///
    /// # Panics
    /// There are fewer words, or the word cannot be read as one.
    pub fn number<T: FromStr>(&self, place: usize) -> T {
        self.parse(self.word(place))
    }

    fn parse<T: FromStr>(&self, text: &str) -> T {
        text.parse().unwrap_or_else(|_| panic!("{}: cannot read {text:?}", self.place))
    }
}

/// The words of a command; `None` where a list is not closed.
pub(crate) fn parse_line(line: &str) -> Option<(String, Vec<Arg>)> {
    let (command, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut args = Vec::new();
    loop {
        rest = rest.trim();
        if rest.is_empty() {
            return Some((command.to_owned(), args));
        }
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (key, behind) = rest.split_at(end);
        let (values, behind) = match behind.strip_prefix('=') {
            None => (Vec::new(), behind),
            Some(list) if list.starts_with('(') => split_list(list)?,
            Some(value) => {
                let end = value.find(' ').unwrap_or(value.len());
                (vec![value[..end].to_owned()], &value[end..])
            }
        };
        args.push(Arg { key: key.to_owned(), values });
        rest = behind;
    }
}

/// Values between parentheses, which may hold parentheses again, and what stands behind them.
fn split_list(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut values, mut depth, mut value) = (Vec::new(), 0, String::new());
    for (place, one) in text.char_indices() {
        match one {
            '(' if depth == 0 => {}
            ',' if depth == 1 => values.push(std::mem::take(&mut value)),
            ')' if depth == 1 => {
                values.push(value);
                return Some((values, &text[place + 1..]));
            }
            ' ' if value.is_empty() && !values.is_empty() => {}
            one => value.push(one),
        }
        depth += i32::from(one == '(') - i32::from(one == ')');
    }
    None
}
