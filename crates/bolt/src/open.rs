//! Opening: making a new file, choosing the meta page, finding the free pages.

use crate::check;
use crate::freelist::FreePages;
use crate::meta::{Meta, NO_FREELIST};
use crate::page::{FREELIST, LEAF};
use crate::{Error, Options};
use disk::{Disk, File, Lock, Mapping, Open};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A new file's pages: two meta pages, an empty freelist, an empty root leaf.
const FIRST_PAGES: usize = 4;
/// Page sizes that a file may have, as powers of two.
const PAGE_SHIFTS: std::ops::RangeInclusive<u32> = 10..=24;
/// What a meta page uses of its page.
const META_BYTES: u64 = 80;
/// Disks write so much at once; what a crash tears apart is whole in pieces of this size.
const SECTOR_BYTES: usize = 512;

/// A file that has been found sound.
pub(crate) struct Opened {
    pub(crate) file: Arc<dyn File>,
    pub(crate) file_len: u64,
    pub(crate) meta: Meta,
    pub(crate) mapping: Mapping,
    pub(crate) free: FreePages,
}

/// Opens or creates a file and checks every page that can be reached.
pub(crate) fn open(disk: &dyn Disk, path: &Path, options: &Options) -> Result<Opened, Error> {
    assert!(is_page_size(options.page_size), "a page size is a power of two from 1 KiB to 16 MiB");
    let name = &*path.display().to_string();
    let how = if options.read_only {
        Open::READ.locked(Lock::Shared)
    } else {
        Open::CREATE.locked(Lock::Exclusive)
    };
    let file = disk.open(path, how).map_err(Error::io(name, "cannot open"))?;
    if !options.read_only {
        create(disk, &*file, path, options.page_size).map_err(Error::io(name, "cannot create"))?;
    }
    let file_len = file.len().map_err(Error::io(name, "cannot read its length"))?;
    let meta = read_meta(&*file, name, file_len, options.page_size)?;
    let high_bytes = meta.high_water.saturating_mul(u64::from(meta.page_size));
    if high_bytes > file_len {
        let what = format!("{high_bytes} bytes are in use but the file has {file_len}");
        return Err(Error::corrupt(name, meta.slot(), meta.page_size as usize, what));
    }
    let reserve = options.initial_map_bytes.max(reserve_bytes(high_bytes));
    let mapping = file.map(high_bytes, reserve, None).map_err(Error::io(name, "cannot map"))?;
    let free = free_pages(&mapping[..high_bytes as usize], &meta).map_err(|finding| {
        Error::corrupt(name, finding.page, meta.page_size as usize, finding.what)
    })?;
    let shown = mapping.len() as u64;
    assert!(shown >= high_bytes, "{high_bytes} bytes are in use and {shown} are mapped");
    if cfg!(debug_assertions) {
        free.check(meta.high_water);
    }
    Ok(Opened { file, file_len, meta, mapping, free })
}

fn is_page_size(bytes: usize) -> bool {
    PAGE_SHIFTS.into_iter().any(|shift| bytes == 1 << shift)
}

/// How much to map for a file of this size: bbolt's steps, which keep moves rare.
pub(crate) fn reserve_bytes(needed: u64) -> u64 {
    const MIN: u64 = 32 * 1024;
    const STEP: u64 = 1 << 30;
    if needed <= STEP { needed.next_power_of_two().max(MIN) } else { needed.next_multiple_of(STEP) }
}

/// Writes the first pages into an empty file, or again where a crash interrupted that.
fn create(disk: &dyn Disk, file: &dyn File, path: &Path, page_size: usize) -> io::Result<()> {
    let first = first_pages(page_size);
    let len = file.len()?;
    if len > first.len() as u64 {
        return Ok(());
    }
    let mut found = vec![0; len as usize];
    disk::read_exact_at(file, &mut found, 0)?;
    if found != first {
        if !is_torn(&found, &first) {
            return Ok(());
        }
        file.write_at(&first, 0)?;
        file.sync_all()?;
    }
    // No commit has made this file longer, so perhaps nothing has made its name durable either.
    let here = |dir: &Path| dir == Path::new("");
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(if here(dir) { Path::new(".") } else { dir }))
}

/// Whether some sectors of the first pages have been written, and nothing else.
fn is_torn(found: &[u8], first: &[u8]) -> bool {
    let mut sectors = found.chunks(SECTOR_BYTES).zip(first.chunks(SECTOR_BYTES));
    found.len().is_multiple_of(SECTOR_BYTES)
        && sectors.all(|(found, first)| found == first || found.iter().all(|&byte| byte == 0))
}

fn first_pages(page_size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIRST_PAGES * page_size);
    for txid in 0..2 {
        let meta = Meta {
            page_size: page_size as u32,
            root: 3,
            sequence: 0,
            freelist: 2,
            high_water: FIRST_PAGES as u64,
            txid,
        };
        bytes.extend(meta.encode(page_size));
    }
    for (id, flags) in [(2u64, FREELIST), (3, LEAF)] {
        let start = bytes.len();
        bytes.extend(id.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.resize(start + page_size, 0);
    }
    assert_eq!(bytes.len(), FIRST_PAGES * page_size, "a new file has {FIRST_PAGES} pages");
    bytes
}

/// The newer of the two meta pages that is sound.
///
/// The second one's place depends on the page size. Where the first is damaged that is not known,
/// and all sizes are tried, the expected one first.
fn read_meta(file: &dyn File, path: &str, len: u64, page_size: usize) -> Result<Meta, Error> {
    let mut first_defect = "";
    let mut found: Vec<Meta> = Vec::new();
    match read_meta_at(file, 0, len).map_err(Error::io(path, "cannot read"))? {
        Ok(meta) => found.push(meta),
        Err(what) => first_defect = what,
    }
    let places: Vec<u64> = match found.first() {
        Some(first) => vec![u64::from(first.page_size)],
        None => [page_size as u64].into_iter().chain(PAGE_SHIFTS.map(|shift| 1 << shift)).collect(),
    };
    for place in places {
        let meta = read_meta_at(file, place, len).map_err(Error::io(path, "cannot read"))?;
        found.extend(meta.ok().filter(|meta| u64::from(meta.page_size) == place));
    }
    found.into_iter().max_by_key(|meta| meta.txid).ok_or_else(|| {
        let what = format!("neither meta page is sound: {first_defect}");
        Error::corrupt(path, 0, page_size, what)
    })
}

fn read_meta_at(
    file: &dyn File,
    place: u64,
    file_len: u64,
) -> io::Result<Result<Meta, &'static str>> {
    let mut head = vec![0; file_len.saturating_sub(place).min(META_BYTES) as usize];
    disk::read_exact_at(file, &mut head, place)?;
    Ok(Meta::decode(&head).and_then(|meta| {
        if !is_page_size(meta.page_size as usize) {
            Err("its page size is none")
        } else if meta.txid == u64::MAX {
            Err("there is no transaction id after its own")
        } else {
            Ok(meta)
        }
    }))
}

/// Every page that cannot be reached and does not hold the stored freelist is free. The list
/// itself is not needed and not believed; [`crate::Db::check`] compares it.
fn free_pages(data: &[u8], meta: &Meta) -> Result<FreePages, check::CheckError> {
    let mut used = check::reachable(data, meta)?;
    if meta.freelist != NO_FREELIST {
        let (run, _) = check::stored_freelist(data, meta)?;
        if (run.0..run.0 + run.1).any(|id| used.is_used(id)) {
            let what = "it is the freelist and something else".to_owned();
            return Err(check::CheckError { page: run.0, what });
        }
        used.mark(run);
    }
    let mut free = FreePages::default();
    for (start, len) in used.gaps(meta.high_water) {
        free.add(start, len);
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_grow_in_steps() {
        assert_eq!(reserve_bytes(1), 32 << 10);
        assert_eq!(reserve_bytes(40 << 10), 64 << 10);
        assert_eq!(reserve_bytes(1 << 30), 1 << 30);
        assert_eq!(reserve_bytes((1 << 30) + 1), 2 << 30);
    }

    #[test]
    fn only_sectors_of_the_first_pages_count_as_torn() {
        let first = first_pages(1024);
        assert!(is_torn(&[], &first) && is_torn(&[0; 1024], &first) && is_torn(&first, &first));
        assert!(!is_torn(&[0; 700], &first), "no disk does that");
        let mut half = first.clone();
        half[..1024].fill(0);
        assert!(is_torn(&half, &first));
        half[1000] = 1;
        assert!(!is_torn(&half, &first));
        assert!(!is_torn(b"a file of somebody else", &first));
    }
}
