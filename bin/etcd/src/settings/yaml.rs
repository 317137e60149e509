//! A YAML document as the reference reads it: by the rules of YAML 1.1, where `yes` is a boolean
//! and `010` is eight, into what JSON can say (reference: `go.yaml.in/yaml/v2`, `sigs.k8s.io/yaml`).
//!
//! Of several documents the first counts; of several values of a key, the last.

use cli::number;
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// Nodes that a document may have, those that aliases repeat included.
const NODES_MAX: usize = 100_000;
/// The byte order mark.
const BOM: &str = "\u{feff}";

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What the reference calls such a value.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "bool",
            Node::Integer(_) | Node::Float(_) => "number",
            Node::Text(_) => "string",
            Node::List(_) => "array",
            Node::Map(_) => "object",
        }
    }

    fn len(&self) -> usize {
        match self {
            Node::List(items) => 1 + items.iter().map(Node::len).sum::<usize>(),
            Node::Map(pairs) => 1 + pairs.iter().map(|(_, node)| node.len()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// Reads a document; an empty one is null.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    // One says how the file is written, and another one may follow where a line begins.
    let head = text.strip_prefix(BOM).unwrap_or(text);
    let text = head.strip_prefix(BOM).unwrap_or(head);
    // Further on it is a letter to the reference, and nothing that may be to this parser: it reads a
    // letter in its place that the text does not have.
    let private = || ('\u{e000}'..='\u{f8ff}').find(|letter| !text.contains(*letter));
    let letter = text.contains(BOM).then(private).flatten();
    let text = match letter {
        Some(letter) => Cow::from(text.replace(BOM, letter.encode_utf8(&mut [0; 4]))),
        None => Cow::from(text),
    };
    let events = Parser::new_from_str(&text);
    let reader = Reader { events, anchors: HashMap::new(), nodes: 0, letter };
    reader.document().map_err(|error| format!("yaml: {error}"))
}

struct Reader<'a, P: Iterator<Item = Result<(Event<'a>, granit_parser::Span), ScanError>>> {
    events: P,
    /// What was named so far.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// What stands for a byte order mark.
    letter: Option<char>,
}

impl<'a, P: Iterator<Item = Result<(Event<'a>, granit_parser::Span), ScanError>>> Reader<'a, P> {
    fn document(mut self) -> Result<Node, String> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Node::Null),
                event => return self.node(event),
            }
        }
    }

    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.events.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(format!("line {}: {}", error.marker().line(), error.info())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'a>) -> Result<Node, String> {
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text = match self.letter {
                    Some(letter) => text.replace(letter, BOM).into(),
                    None => text,
                };
                (anchor, scalar(&text, style, tag.as_deref())?)
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.list()?),
            Event::MappingStart(_, anchor, _) => (anchor, self.map()?),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or("an anchor's value contains itself")?;
                self.count(node.len())?;
                return Ok(node);
            }
            _ => return Err("did not find expected node content".into()),
        };
        self.count(1)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        match self.nodes > NODES_MAX {
            true => Err(format!("the document has more than {NODES_MAX} values")),
            false => Ok(()),
        }
    }

    fn list(&mut self) -> Result<Node, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Node::List(items)),
                event => items.push(self.node(event)?),
            }
        }
    }

    fn map(&mut self) -> Result<Node, String> {
        let mut pairs: Vec<(String, Node)> = Vec::new();
        loop {
            let event = match self.next()? {
                Event::MappingEnd => return Ok(Node::Map(pairs)),
                event => event,
            };
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event)?;
            let event = self.next()?;
            let value = self.node(event)?;
            if is_merge {
                merge(&mut pairs, value)?;
            } else {
                put(&mut pairs, key_text(key)?, value);
            }
        }
    }
}

/// The last value of a key counts.
fn put(pairs: &mut Vec<(String, Node)>, key: String, value: Node) {
    match pairs.iter_mut().find(|(known, _)| *known == key) {
        Some((_, known)) => *known = value,
        None => pairs.push((key, value)),
    }
}

/// `<<: *other` takes over what another map says; of several, the first counts.
fn merge(pairs: &mut Vec<(String, Node)>, value: Node) -> Result<(), String> {
    let maps = match value {
        Node::List(items) => items,
        node => vec![node],
    };
    for map in maps.into_iter().rev() {
        let Node::Map(others) = map else {
            return Err("map merge requires map or sequence of maps as the value".into());
        };
        others.into_iter().for_each(|(key, value)| put(pairs, key, value));
    }
    Ok(())
}

/// Keys that are no text are written as text.
fn key_text(key: Node) -> Result<String, String> {
    match key {
        Node::Text(text) => Ok(text),
        Node::Bool(value) => Ok(value.to_string()),
        Node::Integer(value) => Ok(value.to_string()),
        Node::Float(value) => Ok(value.to_string()),
        Node::Null => Err("a key is null".into()),
        Node::List(_) | Node::Map(_) => Err("invalid map key".into()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Node, String> {
    let is_plain = style == ScalarStyle::Plain;
    let Some(tag) = tag else {
        return Ok(if is_plain { resolve(text) } else { Node::Text(text.into()) });
    };
    let (node, wanted) = (resolve(text), tag.core_suffix().unwrap_or_default());
    let fits = match (wanted, &node) {
        ("bool", Node::Bool(_)) | ("int", Node::Integer(_)) | ("null", Node::Null) => true,
        ("float", Node::Integer(_) | Node::Float(_)) => true,
        ("bool" | "int" | "null" | "float", _) => false,
        // `!!str`, and tags that nobody knows.
        _ => return Ok(Node::Text(text.into())),
    };
    match fits {
        true => Ok(node),
        false => Err(format!("cannot decode {} `{text}` as a !!{wanted}", node.kind())),
    }
}

/// What a plain text means in YAML 1.1.
fn resolve(text: &str) -> Node {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Node::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Node::Bool(false);
        }
        _ => {}
    }
    let infinities = ["inf", "Inf", "INF"];
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned.strip_prefix('.') {
        Some(word) if infinities.contains(&word) => {
            return Node::Float(if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        Some("nan" | "NaN" | "NAN") if unsigned == text => return Node::Float(f64::NAN),
        _ => {}
    }
    number(text).unwrap_or_else(|| Node::Text(text.into()))
}

fn number(text: &str) -> Option<Node> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let plain = text.replace('_', "");
    if let Ok(value) = number::signed(&plain) {
        return Some(Node::Integer(value.into()));
    }
    if let Ok(value) = number::unsigned(&plain) {
        return Some(Node::Integer(value.into()));
    }
    let is_decimal = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    // `text` itself where it begins with a point: underscores are for what begins with a digit.
    let plain = if text.starts_with('.') { text } else { &plain };
    let value: f64 = plain.chars().all(is_decimal).then(|| plain.parse().ok())??;
    Some(Node::Float(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Node {
        match parse(&format!("k: {text}")).unwrap() {
            Node::Map(mut pairs) => pairs.remove(0).1,
            node => panic!("{node:?}"),
        }
    }

    #[test]
    fn plain_words_mean_what_they_mean_in_yaml_1_1() {
        for text in ["yes", "Yes", "on", "y", "TRUE", "!!bool yes", "!!bool \"yes\""] {
            assert_eq!(value(text), Node::Bool(true), "{text}");
        }
        for text in ["no", "Off", "N", "False"] {
            assert_eq!(value(text), Node::Bool(false), "{text}");
        }
        for text in [
            "\"yes\"",
            "'true'",
            "!!str yes",
            "tRUE",
            "t",
            "nope",
            "2001-01-01",
            ".",
            "1.2.3",
            "08x",
        ] {
            assert!(matches!(value(text), Node::Text(_)), "{text}");
        }
        for text in ["", "~", "null"] {
            assert_eq!(value(text), Node::Null, "{text:?}");
        }
    }

    #[test]
    fn numbers_come_in_every_base() {
        let integers = [
            ("5", 5),
            ("-7", -7),
            ("0x10", 16),
            ("010", 8),
            ("0o10", 8),
            ("0b11", 3),
            ("1_000", 1000),
        ];
        for (text, number) in integers {
            assert_eq!(value(text), Node::Integer(number), "{text}");
        }
        assert_eq!(value("18446744073709551615"), Node::Integer(u64::MAX.into()));
        for (text, number) in
            [("5.5", 5.5), ("1e3", 1000.0), (".5", 0.5), ("-.inf", f64::NEG_INFINITY)]
        {
            assert_eq!(value(text), Node::Float(number), "{text}");
        }
    }

    #[test]
    fn documents_are_read_as_far_as_the_first() {
        let text = |text: &str| Node::Text(text.into());
        let map = |key: &str, node| Node::Map(vec![(key.into(), node)]);
        assert_eq!(parse("name: a\nname: b"), Ok(map("name", text("b"))));
        assert_eq!(parse("name: a\n---\nname: b"), Ok(map("name", text("a"))));
        assert_eq!(parse("{\"name\": \"j\"}"), Ok(map("name", text("j"))));
        assert_eq!(parse("<<: {name: m}"), Ok(map("name", text("m"))));
        assert_eq!(parse("1: x"), Ok(map("1", text("x"))));
        assert_eq!(parse("k: [&a {x: 1}, *a]").map(|node| node.len()), Ok(6));
        for empty in ["", "# nothing\n", "---\n", "\u{feff}"] {
            assert_eq!(parse(empty), Ok(Node::Null), "{empty:?}");
        }
        for broken in [
            "name: \"a",
            "name: a\n  foo: b",
            "a:\n\tb: 1",
            "a: *x",
            "? [a]\n: b",
            "null: x",
            "a: &a [*a]",
            "a: !!int b",
            "<<: 5",
            "a: [",
            "}",
        ] {
            let error = parse(broken).unwrap_err();
            assert!(error.starts_with("yaml: "), "{broken:?}: {error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_a_letter_but_at_the_head() {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, text)| ((*key).into(), Node::Text((*text).into())));
            Ok(Node::Map(pairs.collect()))
        };
        assert_eq!(parse("\u{feff}a: x"), map(&[("a", "x")]));
        assert_eq!(parse("\u{feff}\u{feff}a: x"), map(&[("a", "x")]));
        assert_eq!(parse("a: x\n\u{feff}b: w"), map(&[("a", "x"), ("\u{feff}b", "w")]));
        assert_eq!(parse("---\n\u{feff}a: x"), map(&[("\u{feff}a", "x")]));
        assert_eq!(parse("a: \u{feff}x"), map(&[("a", "\u{feff}x")]));
        assert_eq!(parse("a: '\u{feff}\u{e000}'"), map(&[("a", "\u{feff}\u{e000}")]));
        assert_eq!(parse("a: x # \u{feff}"), map(&[("a", "x")]));
        assert_eq!(parse("a: x\n---\n\u{feff}a: y"), map(&[("a", "x")]));
        for broken in ["a: x\n\u{feff}", "a: x\n\u{feff}# c\nb: y"] {
            assert!(parse(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn aliases_cannot_make_a_document_endless() {
        let mut text = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for step in 1..12 {
            let last = format!("*a{}", step - 1);
            text.push_str(&format!("b{step}: &a{step} [{}]\n", vec![last; 10].join(", ")));
        }
        assert!(parse(&text).unwrap_err().contains("more than 100000 values"));
    }
}
