//! The order of keys.

use std::cmp::Ordering;

/// The order of keys: that of their bytes.
///
/// The first eight bytes are compared as one number, which settles most comparisons.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    match (head(a), head(b)) {
        (Some(a), Some(b)) if a != b => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// The first eight bytes as a number that orders as they do; none of shorter keys.
pub(crate) fn head(key: &[u8]) -> Option<u64> {
    key.first_chunk().map(|head| u64::from_be_bytes(*head))
}
