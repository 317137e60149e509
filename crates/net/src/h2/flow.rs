//! Flow control: what may still be sent, either way.

use super::frame::WINDOW_MAX;

/// What the peer lets us send. Below zero after it took room back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendWindow(i64);

impl SendWindow {
    pub(crate) fn new(bytes: i64) -> SendWindow {
        SendWindow(bytes)
    }

    /// Bytes that may be sent now.
    pub(crate) fn room(self) -> usize {
        self.0.max(0) as usize
    }

    pub(crate) fn take(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// More, or less, room; `false` where the window would be larger than the protocol knows.
    pub(crate) fn give(&mut self, bytes: i64) -> bool {
        self.0 += bytes;
        self.0 <= WINDOW_MAX
    }
}

/// What we let the peer send. Room is given back in large pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveWindow {
    max: usize,
    room: usize,
    /// Handed on, but not yet given back.
    owed: usize,
}

impl ReceiveWindow {
    pub(crate) fn new(max: usize) -> ReceiveWindow {
        ReceiveWindow { max, room: max, owed: 0 }
    }

    /// Bytes came; `false` where there was no room for them.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let Some(room) = self.room.checked_sub(bytes) else { return false };
        self.room = room;
        true
    }

    /// Bytes were handed on. What to give back now, once it is half of the window.
    pub(crate) fn give(&mut self, bytes: usize) -> Option<u32> {
        self.owed += bytes;
        if self.owed < self.max / 2 {
            return None;
        }
        self.room += self.owed;
        Some(std::mem::take(&mut self.owed) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_to_send_may_be_negative() {
        let mut window = SendWindow::new(10);
        window.take(8);
        assert!(window.give(-5));
        assert_eq!(window.room(), 0);
        assert!(window.give(WINDOW_MAX));
        assert_eq!(window.room() as i64, WINDOW_MAX - 3);
        assert!(!window.give(4));
    }

    #[test]
    fn room_is_given_back_by_halves() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.take(100));
        assert!(!window.take(1));
        assert_eq!(window.give(49), None);
        assert_eq!(window.give(1), Some(50));
        assert!(window.take(50));
        assert!(!window.take(1));
    }
}
