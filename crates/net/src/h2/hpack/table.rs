//! The static table, and the dynamic one: newest first, bounded in bytes.

use bytes::Bytes;
use std::collections::VecDeque;

/// What a field costs a table beside its bytes (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Bytes,
    pub(crate) value: Bytes,
}

impl Field {
    /// What it counts in a table and against limits.
    pub(crate) fn size(&self) -> usize {
        self.name.len() + self.value.len() + OVERHEAD
    }
}

/// Both tables under one numbering that begins at 1.
///
/// Always true: `size` is the sum of the fields' sizes and at most `max`.
pub(super) struct Table {
    fields: VecDeque<Field>,
    size: usize,
    max: usize,
    changes: u64,
}

impl Table {
    pub(super) fn new(max: usize) -> Table {
        Table { fields: VecDeque::new(), size: 0, max, changes: 0 }
    }

    pub(super) fn get(&self, index: usize) -> Option<Field> {
        let place = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(place) {
            let name = Bytes::from_static(name.as_bytes());
            return Some(Field { name, value: Bytes::from_static(value.as_bytes()) });
        }
        self.fields.get(place - STATIC.len()).cloned()
    }

    /// Enters a field; the oldest give way. One that is larger than the table empties it.
    pub(super) fn insert(&mut self, field: Field) {
        self.changes += 1;
        let size = field.size();
        self.evict(self.max.saturating_sub(size));
        if size <= self.max {
            self.size += size;
            self.fields.push_front(field);
        }
    }

    pub(super) fn resize(&mut self, max: usize) {
        self.changes += 1;
        self.max = max;
        self.evict(max);
    }

    /// Grows with every change: as long as it stands still, equal blocks mean equal fields.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    fn evict(&mut self, size_max: usize) {
        while self.size > size_max
            && let Some(oldest) = self.fields.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

#[rustfmt::skip]
static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
