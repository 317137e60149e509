//! Some neighbouring names in order, packed together.
//!
//! ```text
//! prefix   /registry/pods/default/       what all names begin with, once
//! heads    db-7 web- web-                the next four bytes of each, in order: a search seldom
//! spans    (11, 4) (0, 5) (5, 6)         looks further
//! text     web-1web-20db-7               the rest of each, as they came
//! ```
//! A name costs what it has beyond the prefix and 12 bytes.

use std::cmp::Ordering;
use std::ops::Range;

/// Room made at a time, in names and in bytes.
const NAMES_STEP: usize = 16;
const TEXT_STEP: usize = 256;

/// The names.
///
/// Always true:
/// 1. They ascend and differ.
/// 2. There is one head for every span, and it is that of the rest.
/// 3. Every rest lies within the text.
#[derive(Debug, Default)]
pub(crate) struct Names {
    prefix: Box<[u8]>,
    heads: Vec<u32>,
    spans: Vec<Span>,
    text: Vec<u8>,
}

/// Where the rest of a name is.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: u32,
    len: u32,
}

/// A name, in two pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'n> {
    prefix: &'n [u8],
    rest: &'n [u8],
}

impl Key<'_> {
    pub(crate) fn to_vec(self) -> Vec<u8> {
        [self.prefix, self.rest].concat()
    }

    pub(crate) fn cmp(self, other: &[u8]) -> Ordering {
        let (head, tail) = other.split_at(other.len().min(self.prefix.len()));
        self.prefix.cmp(head).then_with(|| self.rest.cmp(tail))
    }
}

impl Span {
    fn range(self) -> Range<usize> {
        self.at as usize..self.at as usize + self.len as usize
    }
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Bytes of text, without the prefix.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }

    fn rest(&self, index: usize) -> &[u8] {
        &self.text[self.spans[index].range()]
    }

    pub(crate) fn key(&self, index: usize) -> Key<'_> {
        Key { prefix: &self.prefix, rest: self.rest(index) }
    }

    /// The name's place, or where it would be.
    pub(crate) fn find(&self, name: &[u8]) -> Result<usize, usize> {
        let Some(rest) = name.strip_prefix(&*self.prefix) else {
            return Err(if name < &*self.prefix { 0 } else { self.len() });
        };
        let head = head_of(rest);
        let first = self.heads.partition_point(|other| *other < head);
        let alike = self.heads[first..].iter().take_while(|other| **other == head).count();
        let among = &self.spans[first..first + alike];
        let found = among.binary_search_by(|span| self.text[span.range()].cmp(rest));
        found.map(|index| first + index).map_err(|index| first + index)
    }

    /// The first place whose name is not below this one.
    pub(crate) fn lower_bound(&self, name: &[u8]) -> usize {
        self.find(name).unwrap_or_else(|place| place)
    }

    /// Adds a name at the place that [`Names::find`] gave.
    pub(crate) fn insert(&mut self, index: usize, name: &[u8]) {
        if self.spans.is_empty() {
            self.text.clear();
            self.prefix = name.into();
        } else if !name.starts_with(&self.prefix) {
            let kept = common_len(&self.prefix, name);
            let lead = self.prefix[kept..].to_vec();
            self.repack(&lead);
            self.prefix = self.prefix[..kept].into();
        }
        debug_assert!(index <= self.len(), "place {index} is beyond {} names", self.len());
        debug_assert!(index == 0 || self.key(index - 1).cmp(name).is_lt(), "names ascend");
        debug_assert!(index == self.len() || self.key(index).cmp(name).is_gt(), "names ascend");
        let rest = &name[self.prefix.len()..];
        make_room(&mut self.text, rest.len(), TEXT_STEP);
        make_room(&mut self.heads, 1, NAMES_STEP);
        make_room(&mut self.spans, 1, NAMES_STEP);
        let span = Span { at: offset(self.text.len()), len: offset(rest.len()) };
        self.text.extend_from_slice(rest);
        self.heads.insert(index, head_of(rest));
        self.spans.insert(index, span);
    }

    /// Removes a name. Its text stays until half of all text is dead.
    pub(crate) fn remove(&mut self, index: usize) {
        self.heads.remove(index);
        self.spans.remove(index);
        let alive: usize = self.spans.iter().map(|span| span.len as usize).sum();
        if self.text.len() > 2 * alive + TEXT_STEP {
            self.repack(&[]);
        }
    }

    /// Removes the names that `keep` does not want.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        let kept: Vec<usize> = (0..self.len()).filter(|index| keep(*index)).collect();
        self.heads = kept.iter().map(|index| self.heads[*index]).collect();
        self.spans = kept.iter().map(|index| self.spans[*index]).collect();
        self.repack(&[]);
    }

    /// Takes the names from a place on into a set of their own.
    pub(crate) fn split_off(&mut self, index: usize) -> Names {
        let mut right = Names::default();
        for index in index..self.len() {
            right.insert(right.len(), &self.key(index).to_vec());
        }
        debug_assert_eq!(index + right.len(), self.len(), "a split loses no name");
        self.heads.truncate(index);
        self.spans.truncate(index);
        self.repack(&[]);
        right
    }

    /// Takes in names that are all behind these.
    pub(crate) fn append(&mut self, right: &Names) {
        for index in 0..right.len() {
            self.insert(self.len(), &right.key(index).to_vec());
        }
    }

    /// Gives back spare room.
    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.heads.shrink_to_fit();
        self.spans.shrink_to_fit();
    }

    /// Writes the text anew, without what removed names left, every rest led by `lead`.
    fn repack(&mut self, lead: &[u8]) {
        let bytes = self.spans.iter().map(|span| span.len as usize + lead.len()).sum();
        let mut text = Vec::with_capacity(bytes);
        for (span, head) in self.spans.iter_mut().zip(&mut self.heads) {
            let at = text.len();
            text.extend_from_slice(lead);
            text.extend_from_slice(&self.text[span.range()]);
            *head = head_of(&text[at..]);
            *span = Span { at: offset(at), len: offset(text.len() - at) };
        }
        debug_assert_eq!(text.len(), bytes, "a text written anew has what was counted");
        self.text = text;
    }

    /// Asserts what is always true.
    pub(crate) fn check(&self) {
        assert_eq!(self.heads.len(), self.spans.len(), "there is one head for every name");
        for index in 0..self.len() {
            let (end, text) = (self.spans[index].range().end, self.text.len());
            assert!(end <= text, "name {index} ends at {end} of {text} bytes");
            let head = head_of(self.rest(index));
            assert_eq!(self.heads[index], head, "the head of name {index} is that of its text");
            assert!(index == 0 || self.rest(index - 1) < self.rest(index), "names ascend");
        }
    }
}

/// The first bytes as a number that is ordered as they are.
fn head_of(rest: &[u8]) -> u32 {
    match rest.first_chunk() {
        Some(head) => u32::from_be_bytes(*head),
        None => {
            let mut head = [0; 4];
            head[..rest.len()].copy_from_slice(rest);
            u32::from_be_bytes(head)
        }
    }
}

/// Growing by steps wastes less than doubling does.
fn make_room<T>(items: &mut Vec<T>, needed: usize, step: usize) {
    if items.capacity() - items.len() < needed {
        items.reserve_exact(needed.max(step));
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a request is smaller than 4 GiB, and so are some names together")
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
