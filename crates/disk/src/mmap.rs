//! Read-only views of files: the one place with `unsafe`.

use std::ops::Deref;
use std::sync::Arc;

/// A view of a file's bytes. Clones share it.
#[derive(Clone)]
pub struct Mapping {
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Mapped(Arc<memmap2::Mmap>),
    Copied(Arc<[u8]>),
}

impl Mapping {
    /// Maps `len` bytes of a file, which may be more than it has.
    #[allow(unsafe_code)]
    pub(crate) fn map(file: &std::fs::File, len: usize) -> std::io::Result<Mapping> {
        // SAFETY: the view must not be read where another writer changes it, and not past the end
        // of the file. Nobody else writes: the callers hold the file's exclusive lock, or a shared
        // one that keeps writers out. The one writer in this process (`bolt`) never changes a page
        // that a reader can reach: pages are written before a meta page names them and are reused
        // only when no reader is older. The two meta pages, which do change, are read under the
        // writer's lock or validated by checksum from a copy. Nobody shrinks a mapped file, and
        // readers stay below the high-water mark that their meta page names, so no access lies
        // past the end of the file.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Mapping { bytes: Bytes::Mapped(Arc::new(map)) })
    }

    /// A view of bytes in memory.
    pub fn copied(bytes: impl Into<Arc<[u8]>>) -> Mapping {
        Mapping { bytes: Bytes::Copied(bytes.into()) }
    }

    /// Whether later writes to the file show.
    pub fn is_live(&self) -> bool {
        matches!(self.bytes, Bytes::Mapped(_))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Copied(copy) => copy,
        }
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("len", &self.len()).field("live", &self.is_live()).finish()
    }
}
