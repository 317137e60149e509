//! A stack that allocates only when it grows beyond the usual.

/// Elements held in place. A tree of six levels has billions of keys.
const USUAL: usize = 6;

/// A stack of few elements.
#[derive(Clone, Debug)]
pub(crate) struct Stack<T: Copy> {
    len: usize,
    first: [Option<T>; USUAL],
    more: Vec<T>,
}

impl<T: Copy> Stack<T> {
    pub(crate) fn new() -> Stack<T> {
        Stack { len: 0, first: [None; USUAL], more: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.more.truncate(len.saturating_sub(USUAL));
    }

    pub(crate) fn push(&mut self, element: T) {
        match self.first.get_mut(self.len) {
            Some(place) => *place = Some(element),
            None => self.more.push(element),
        }
        self.len += 1;
        let more = self.len.saturating_sub(USUAL);
        debug_assert_eq!(self.more.len(), more, "what has no place in the stack lies beside it");
    }

    /// The element at `index`, which is below the length.
    pub(crate) fn at_mut(&mut self, index: usize) -> &mut T {
        assert!(index < self.len, "a stack of {} has no element {index}", self.len);
        match self.first.get_mut(index) {
            Some(place) => place.as_mut().expect("places below the length are filled"),
            None => &mut self.more[index - USUAL],
        }
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        self.len.checked_sub(1).map(|last| self.at_mut(last))
    }

    pub(crate) fn last(&self) -> Option<T> {
        let index = self.len.checked_sub(1)?;
        self.first.get(index).map_or_else(|| self.more.last().copied(), |place| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_beyond_the_usual_and_back() {
        let mut stack = Stack::new();
        assert_eq!(stack.last(), None);
        for n in 0..3 * USUAL {
            stack.push(n);
            assert_eq!((stack.last(), stack.len()), (Some(n), n + 1));
        }
        for len in (1..3 * USUAL).rev() {
            stack.truncate(len);
            assert_eq!(stack.last(), Some(len - 1));
            *stack.at_mut(len / 2) += 0;
        }
        stack.truncate(0);
        stack.push(9);
        assert_eq!((stack.last(), stack.last_mut().copied()), (Some(9), Some(9)));
    }
}
