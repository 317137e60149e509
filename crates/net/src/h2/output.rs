//! What goes out on one connection, in order, until the socket takes it.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Pieces shorter than this are copied behind what is there: cheaper than a slice of their own.
const COPY_MAX: usize = 4096;
/// Slices handed to the system at once.
const SLICES_MAX: usize = 64;
/// The buffer gives its memory back above this.
const KEEP_MAX: usize = 64 * 1024;

/// Bytes to be written.
///
/// Always true: the wire sees `chunks`, then `tail`; `len` is their sum.
#[derive(Default)]
pub(crate) struct Output {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    chunk_bytes: usize,
}

impl Output {
    /// Bytes not yet written.
    pub(crate) fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    /// Where small things are appended.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends payload, by reference if that pays.
    pub(crate) fn put(&mut self, piece: Bytes) {
        if piece.len() < COPY_MAX {
            return self.tail.extend_from_slice(&piece);
        }
        if !self.tail.is_empty() {
            self.push(self.tail.len());
        }
        self.chunk_bytes += piece.len();
        self.chunks.push_back(piece);
    }

    fn push(&mut self, len: usize) {
        self.chunk_bytes += len;
        self.chunks.push_back(self.tail.split_to(len).freeze());
    }

    /// Writes as much as `write` takes; whether everything is written.
    ///
    /// # Errors
    /// Those of `write` but for `WouldBlock`, which means that the socket is full.
    pub(crate) fn flush(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while self.len() > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let used = self.slices(&mut slices);
            match write(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let pieces = self.chunks.iter().map(|chunk| &chunk[..]).chain(tail);
        let mut used = 0;
        for (slot, piece) in slices.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(chunk) = self.chunks.front_mut() {
            let step = written.min(chunk.len());
            chunk.advance(step);
            self.chunk_bytes -= step;
            written -= step;
            if !chunk.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        if written < self.tail.len() {
            self.tail.advance(written);
        } else if self.tail.capacity() > KEEP_MAX {
            self.tail = BytesMut::new();
        } else {
            self.tail.clear();
        }
    }

    /// Everything at once, for tests.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let step = |slices: &[IoSlice<'_>]| {
            all.extend_from_slice(&slices[0]);
            Ok(slices[0].len())
        };
        self.flush(step).expect("nothing fails here");
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_whatever_the_socket_takes() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for n in 0..10u8 {
            output.tail().extend_from_slice(&[n; 3]);
            let piece = vec![n; if n % 3 == 0 { COPY_MAX } else { 5 }];
            expected.extend_from_slice(&[n; 3]);
            expected.extend_from_slice(&piece);
            output.put(piece.into());
        }
        let mut got = Vec::new();
        let mut step = 1;
        while output.len() > 0 {
            let mut blocked = false;
            let flushed = output.flush(|slices| {
                if std::mem::replace(&mut blocked, true) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                let n = step.min(all.len());
                got.extend_from_slice(&all[..n]);
                Ok(n)
            });
            step = step * 3 + 1;
            assert_eq!(flushed.unwrap(), output.len() == 0);
        }
        assert_eq!(got, expected);
    }

    #[test]
    fn errors_pass_through() {
        let mut output = Output::default();
        assert!(output.flush(|_| unreachable!("nothing to write")).unwrap());
        output.put(Bytes::from_static(b"x"));
        assert!(output.flush(|_| Ok(0)).is_err());
        assert!(output.flush(|_| Err(io::ErrorKind::BrokenPipe.into())).is_err());
    }
}
