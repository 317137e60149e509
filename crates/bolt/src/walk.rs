//! A way through the pages of a tree, from its root to an element.

use crate::search::Guess;
use crate::stack::Stack;

/// A key with its value; `None` for a bucket.
pub type Item<'t> = (&'t [u8], Option<&'t [u8]>);

/// A tree that can be walked: of pages, or of pages and what a transaction has changed.
pub(crate) trait Walk {
    /// A page, or one taken into memory.
    type Level: Copy;

    fn root(&self) -> Self::Level;
    fn is_leaf(&self, level: Self::Level) -> bool;
    fn count(&self, level: Self::Level) -> usize;
    fn child(&self, level: Self::Level, index: usize) -> Self::Level;
    /// The child under which a key belongs, and where in it.
    fn child_index(&self, level: Self::Level, key: &[u8], guess: Guess) -> (usize, Guess);
    /// The first element of a leaf whose key is not below `key`.
    fn search(&self, level: Self::Level, key: &[u8], guess: Guess) -> usize;
}

/// The way from the root to an element of a leaf.
///
/// The element's index is its leaf's count only after a search that found nothing.
pub(crate) struct Way<L: Copy> {
    stack: Stack<(L, usize)>,
}

impl<L: Copy> Way<L> {
    pub(crate) fn new() -> Way<L> {
        Way { stack: Stack::new() }
    }

    pub(crate) fn first(&mut self, tree: &impl Walk<Level = L>) -> Option<(L, usize)> {
        self.stack.truncate(0);
        self.descend_first(tree, tree.root());
        self.here_or_forward(tree)
    }

    pub(crate) fn last(&mut self, tree: &impl Walk<Level = L>) -> Option<(L, usize)> {
        self.stack.truncate(0);
        self.descend_last(tree, tree.root());
        while self.here(tree).is_none() {
            if !self.step_back(tree) {
                return None;
            }
        }
        self.here(tree)
    }

    pub(crate) fn seek(&mut self, tree: &impl Walk<Level = L>, key: &[u8]) -> Option<(L, usize)> {
        self.stack.truncate(0);
        let mut level = tree.root();
        let mut guess = Guess::NONE;
        while !tree.is_leaf(level) {
            let (index, below) = tree.child_index(level, key, guess);
            self.stack.push((level, index));
            level = tree.child(level, index);
            guess = below;
        }
        self.stack.push((level, tree.search(level, key, guess)));
        self.here_or_forward(tree)
    }

    pub(crate) fn next(&mut self, tree: &impl Walk<Level = L>) -> Option<(L, usize)> {
        let (leaf, index) = self.stack.last_mut()?;
        if *index + 1 < tree.count(*leaf) {
            *index += 1;
            return Some((*leaf, *index));
        }
        let end = self.stack.clone();
        while self.step_forward(tree) {
            if let Some(here) = self.here(tree) {
                return Some(here);
            }
        }
        self.stack = end;
        None
    }

    pub(crate) fn prev(&mut self, tree: &impl Walk<Level = L>) -> Option<(L, usize)> {
        let (leaf, index) = self.stack.last_mut()?;
        if *index > 0 {
            *index -= 1;
            return Some((*leaf, *index));
        }
        let end = self.stack.clone();
        while self.step_back(tree) {
            if let Some(here) = self.here(tree) {
                return Some(here);
            }
        }
        self.stack = end;
        None
    }

    fn here(&self, tree: &impl Walk<Level = L>) -> Option<(L, usize)> {
        self.stack.last().filter(|&(leaf, index)| index < tree.count(leaf))
    }

    /// This element, or the next one where the leaf ends before it or is empty.
    fn here_or_forward(&mut self, tree: &impl Walk<Level = L>) -> Option<(L, usize)> {
        while self.here(tree).is_none() {
            if !self.step_forward(tree) {
                return None;
            }
        }
        self.here(tree)
    }

    fn descend_first(&mut self, tree: &impl Walk<Level = L>, mut level: L) {
        while !tree.is_leaf(level) {
            self.stack.push((level, 0));
            level = tree.child(level, 0);
        }
        self.stack.push((level, 0));
    }

    fn descend_last(&mut self, tree: &impl Walk<Level = L>, mut level: L) {
        while !tree.is_leaf(level) {
            let last = tree.count(level) - 1;
            self.stack.push((level, last));
            level = tree.child(level, last);
        }
        self.stack.push((level, tree.count(level).saturating_sub(1)));
    }

    /// The lowest branch on the way that is as wanted; what is below it is dropped then.
    fn lowest_branch(&mut self, is_wanted: impl Fn((L, usize)) -> bool) -> Option<&mut (L, usize)> {
        assert!(self.stack.len() > 0, "a cursor that moves stands somewhere");
        let branches = self.stack.len() - 1;
        let at = (0..branches).rev().find(|&at| is_wanted(*self.stack.at_mut(at)))?;
        self.stack.truncate(at + 1);
        self.stack.last_mut()
    }

    /// To the first element of the next leaf; stays where there is none.
    fn step_forward(&mut self, tree: &impl Walk<Level = L>) -> bool {
        let has_next = |(level, index)| index + 1 < tree.count(level);
        let Some((level, index)) = self.lowest_branch(has_next) else {
            return false;
        };
        *index += 1;
        let child = tree.child(*level, *index);
        self.descend_first(tree, child);
        true
    }

    /// To the last element of the leaf before; stays where there is none.
    fn step_back(&mut self, tree: &impl Walk<Level = L>) -> bool {
        let Some((level, index)) = self.lowest_branch(|(_, index)| index > 0) else {
            return false;
        };
        *index -= 1;
        let child = tree.child(*level, *index);
        self.descend_last(tree, child);
        true
    }
}
