//! The text of a script as commands, and back.

use crate::directive::{Directive, parse_line};
use std::fmt;

const SEPARATOR: &str = "----";

/// Why a text is not a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptError {
    /// The file does not begin with a comment that says what the script is for.
    NoPurpose,
    /// A command has no separator below it; the line of the command.
    NoSeparator(usize),
    /// A list of values is not closed; the line of the command.
    OpenList(usize),
    /// There is no command in the file.
    Empty,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScriptError::NoPurpose => {
                f.write_str("a script begins with a comment that says its purpose")
            }
            ScriptError::NoSeparator(line) => write!(f, "line {line}: no {SEPARATOR} follows"),
            ScriptError::OpenList(line) => write!(f, "line {line}: a parenthesis is not closed"),
            ScriptError::Empty => f.write_str("the script has no command"),
        }
    }
}

impl std::error::Error for ScriptError {}

/// A script in the order of its file.
///
/// Always true: the sources of the blocks, each with its separator and output behind it, and the
/// tail behind them are the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The comment at the top, without its signs.
    pub purpose: String,
    blocks: Vec<Block>,
    /// The lines behind the last output.
    tail: String,
}

/// A command with the text that stands before its output.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    /// Empty lines, comments, the command and its input, up to the separator.
    source: String,
    directive: Directive,
}

impl Script {
    /// Reads a script; `name` is its file's, for the places of its commands.
    ///
    /// # Errors
    /// The text is not a script; a missing purpose is not noticed here but by [`Script::require_purpose`].
    pub fn parse(name: &str, text: &str) -> Result<Script, ScriptError> {
        let mut lines = Lines { rest: text, number: 0 };
        let mut blocks = Vec::new();
        let mut tail = String::new();
        while let Some(line) = lines.next() {
            tail = tail + line + "\n";
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') || trimmed.starts_with("subtest") {
                continue;
            }
            let source = std::mem::take(&mut tail);
            blocks.push(lines.block(name, source, trimmed.to_owned())?);
        }
        let purpose = text.lines().map_while(|line| line.strip_prefix('#'));
        let purpose = purpose.map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned();
        if blocks.is_empty() {
            return Err(ScriptError::Empty);
        }
        Ok(Script { purpose, blocks, tail })
    }

    /// Refuses a script without a purpose.
    ///
    /// # Errors
    /// [`ScriptError::NoPurpose`].
    pub fn require_purpose(&self) -> Result<(), ScriptError> {
        if self.purpose.is_empty() { Err(ScriptError::NoPurpose) } else { Ok(()) }
    }

    /// The commands.
    pub fn directives(&self) -> impl Iterator<Item = &Directive> {
        self.blocks.iter().map(|block| &block.directive)
    }

    /// The whole file with other outputs, one for each command.
    pub fn with_outputs(&self, outputs: &[String]) -> String {
        assert_eq!(outputs.len(), self.blocks.len(), "there is one output for each command");
        let mut text = String::new();
        for (block, output) in self.blocks.iter().zip(outputs) {
            text.push_str(&block.source);
            text.push_str(&separated(output));
        }
        text + &self.tail
    }
}

/// An output with its separators and the empty line that ends it.
fn separated(output: &str) -> String {
    let output = if output.is_empty() || output.ends_with('\n') {
        output.to_owned()
    } else {
        format!("{output}\n")
    };
    if output.lines().any(|line| line.trim().is_empty()) {
        let twice = format!("{SEPARATOR}\n{SEPARATOR}\n");
        return format!("{twice}{output}{twice}\n");
    }
    format!("{SEPARATOR}\n{output}\n")
}

/// The lines that are left, and the number of the last one taken.
struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.number += 1;
        Some(line)
    }
}

impl Lines<'_> {
    /// The block that begins with a command, whose line has just been taken.
    fn block(
        &mut self,
        name: &str,
        mut source: String,
        mut line: String,
    ) -> Result<Block, ScriptError> {
        let number = self.number;
        while line.ends_with('\\') {
            let Some(next) = self.next() else { break };
            source = source + next + "\n";
            line = format!("{} {}", line.trim_end_matches('\\'), next.trim());
        }
        let (command, args) = parse_line(&line).ok_or(ScriptError::OpenList(number))?;
        let mut input = String::new();
        loop {
            let next = self.next().ok_or(ScriptError::NoSeparator(number))?;
            if next == SEPARATOR {
                break;
            }
            source = source + next + "\n";
            input = input + next + "\n";
        }
        let expected = self.expected();
        let (place, input) = (format!("{name}:{number}"), input.trim().to_owned());
        Ok(Block { source, directive: Directive { place, command, args, input, expected } })
    }

    /// The output below a separator, with the line that ends it taken too.
    fn expected(&mut self) -> String {
        let mut expected = String::new();
        let mut next = self.next();
        if next != Some(SEPARATOR) {
            while let Some(line) = next.filter(|line| !line.trim().is_empty()) {
                expected = expected + line + "\n";
                next = self.next();
            }
            return expected;
        }
        let mut is_second = false;
        for line in self.by_ref() {
            if line == SEPARATOR && is_second {
                expected.truncate(expected.len() - SEPARATOR.len() - 1);
                break;
            }
            is_second = line == SEPARATOR;
            expected = expected + line + "\n";
        }
        // The empty line behind the separators belongs to the block.
        if self.rest.starts_with('\n') {
            self.next();
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Why.\n# More.\n\none a=1 b=(2, (3, 4)) c\ninput\n----\nout\n\n# On two.\n\
                        two \\\n  d\n----\n----\nx\n\ny\n----\n----\n\nthree\n----\n\n# End.\n";

    #[test]
    fn commands_have_arguments_input_and_output() {
        let script = Script::parse("f", TEXT).unwrap();
        assert_eq!(script.purpose, "Why.\nMore.");
        let found: Vec<_> = script.directives().collect();
        assert_eq!((found[0].place.as_str(), found[0].command.as_str()), ("f:4", "one"));
        assert_eq!(
            (found[0].get::<u8>("a"), found[0].values("b")),
            (1, &["2".into(), "(3, 4)".into()][..])
        );
        assert!(found[0].has("c") && !found[0].has("a"));
        assert_eq!((found[0].input.as_str(), found[0].expected.as_str()), ("input", "out\n"));
        assert_eq!((found[1].word(0), found[1].expected.as_str()), ("d", "x\n\ny\n"));
        assert_eq!((found[2].command.as_str(), found[2].expected.as_str()), ("three", ""));
    }

    #[test]
    fn a_script_with_its_own_outputs_is_the_same_file() {
        let script = Script::parse("f", TEXT).unwrap();
        let outputs: Vec<String> = script.directives().map(|one| one.expected.clone()).collect();
        assert_eq!(script.with_outputs(&outputs), TEXT);
        let changed = script.with_outputs(&["1".into(), "2".into(), "3\n\n4".into()]);
        let again = Script::parse("f", &changed).unwrap();
        let outputs: Vec<&str> = again.directives().map(|one| one.expected.as_str()).collect();
        assert_eq!(outputs, ["1\n", "2\n", "3\n\n4\n"]);
    }

    #[test]
    fn what_is_not_a_script_is_refused() {
        let error = |text| {
            Script::parse("f", text).and_then(|script| script.require_purpose().map(|()| script))
        };
        assert_eq!(error("a\n----\n").unwrap_err(), ScriptError::NoPurpose);
        assert_eq!(error("#\n\na\n----\n").unwrap_err(), ScriptError::NoPurpose);
        assert_eq!(error("\n# Late.\na\n----\n").unwrap_err(), ScriptError::NoPurpose);
        assert_eq!(error("# Why.\na\nb\n").unwrap_err(), ScriptError::NoSeparator(2));
        assert_eq!(error("# Why.\na b=(1\n----\n").unwrap_err(), ScriptError::OpenList(2));
        assert_eq!(error("# Why.\n").unwrap_err(), ScriptError::Empty);
    }
}
