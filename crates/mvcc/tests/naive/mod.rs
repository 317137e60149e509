//! A map of every revision, as simple as can be; compaction only matters to what it refuses and to
//! hashes.

use bytes::Bytes;
use mvcc::{RangeOptions, Refusal};
use prost::Message;
use proto::mvccpb::KeyValue;
use std::collections::{BTreeMap, BTreeSet};

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Put { key: Bytes, value: Bytes, lease: i64 },
    Delete { key: Bytes, end: Bytes },
}

type State = BTreeMap<Bytes, KeyValue>;

/// A row of the key table.
#[derive(Clone, Debug)]
struct Row {
    main: i64,
    sub: i64,
    key: Bytes,
    is_tombstone: bool,
    stored: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) current: i64,
    pub(crate) compacted: i64,
    /// The state after every revision.
    states: BTreeMap<i64, State>,
    /// Every change ever made.
    changes: Vec<Row>,
    /// Those that are in the table when every compaction promised is done.
    rows: Vec<Row>,
    /// Before a compaction that is under way.
    finished: i64,
    waiting: bool,
    hashes: Vec<(u32, i64, i64)>,
    open: Option<(State, Vec<Row>)>,
}

impl Default for Model {
    fn default() -> Model {
        Model {
            current: 1,
            compacted: -1,
            states: BTreeMap::from([(1, State::new())]),
            changes: Vec::new(),
            rows: Vec::new(),
            finished: -1,
            waiting: false,
            hashes: Vec::new(),
            open: None,
        }
    }
}

fn within(key: &[u8], from: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == from,
        [0] => key >= from,
        _ => key >= from && key < end,
    }
}

impl Model {
    pub(crate) fn begin(&mut self) {
        self.open = Some((self.states[&self.current].clone(), Vec::new()));
        self.current += 1;
    }

    pub(crate) fn has_changed(&self) -> bool {
        self.open.as_ref().is_some_and(|(_, rows)| !rows.is_empty())
    }

    pub(crate) fn now(&self) -> &State {
        self.open.as_ref().map_or_else(|| &self.states[&self.current], |(state, _)| state)
    }

    pub(crate) fn put(&mut self, key: &Bytes, value: &Bytes, lease: i64) -> Option<KeyValue> {
        let main = self.current;
        let (state, rows) = self.open.as_mut().unwrap();
        let prev = state.get(key).cloned();
        let kv = KeyValue {
            key: key.clone(),
            create_revision: prev.as_ref().map_or(main, |prev| prev.create_revision),
            mod_revision: main,
            version: prev.as_ref().map_or(0, |prev| prev.version) + 1,
            value: value.clone(),
            lease,
        };
        let stored = kv.encode_to_vec().into();
        let sub = rows.len() as i64;
        rows.push(Row { main, sub, key: key.clone(), is_tombstone: false, stored });
        state.insert(key.clone(), kv);
        prev
    }

    pub(crate) fn delete(&mut self, from: &[u8], end: &[u8]) -> Vec<KeyValue> {
        let main = self.current;
        let (state, rows) = self.open.as_mut().unwrap();
        let gone: Vec<_> =
            state.values().filter(|kv| within(&kv.key, from, end)).cloned().collect();
        for KeyValue { key, .. } in &gone {
            state.remove(key);
            let stored = KeyValue { key: key.clone(), ..Default::default() }.encode_to_vec().into();
            let sub = rows.len() as i64;
            rows.push(Row { main, sub, key: key.clone(), is_tombstone: true, stored });
        }
        gone
    }

    pub(crate) fn end(&mut self) {
        let (state, rows) = self.open.take().unwrap();
        self.states.insert(self.current, state);
        self.changes.extend(rows.clone());
        self.rows.extend(rows);
    }

    pub(crate) fn stored_at(&self, main: i64) -> Vec<(bool, Bytes)> {
        let rows = self.changes.iter().filter(|row| row.main == main);
        rows.map(|row| (row.is_tombstone, row.stored.clone())).collect()
    }

    pub(crate) fn get_at(&self, key: &Bytes, at: i64) -> Option<KeyValue> {
        if at < self.compacted {
            return None;
        }
        self.states[&at.clamp(1, self.current)].get(key).cloned()
    }

    /// As etcd: fetch, filter, sort, cut.
    #[allow(clippy::type_complexity)]
    pub(crate) fn range(&self, o: &RangeOptions) -> Result<(Vec<KeyValue>, bool, i64), Refusal> {
        if !(0..3).contains(&o.sort_order) || !(0..5).contains(&o.sort_target) {
            return Err(Refusal::InvalidSort);
        }
        let at = if o.revision <= 0 { self.current } else { o.revision };
        if at > self.current {
            return Err(Refusal::FutureRevision);
        }
        if at < self.compacted {
            return Err(Refusal::Compacted);
        }
        let (none, ascend, descend) = (0, 1, 2);
        let key_target = 0;
        let all = self.states[&at].values().filter(|kv| within(&kv.key, &o.key, &o.range_end));
        let mut kvs: Vec<KeyValue> = all.cloned().collect();
        let count = kvs.len() as i64;
        if o.count_only {
            return Ok((Vec::new(), false, count));
        }
        let filters =
            [o.min_mod_revision, o.max_mod_revision, o.min_create_revision, o.max_create_revision];
        let natural = |order| order == none || (o.sort_target == key_target && order == ascend);
        let fetches_all = !natural(o.sort_order) || filters != [0; 4];
        if o.limit > 0 && !fetches_all {
            kvs.truncate(o.limit as usize + 1);
        }
        kvs.retain(|kv| {
            (o.max_mod_revision == 0 || kv.mod_revision <= o.max_mod_revision)
                && (o.min_mod_revision == 0 || kv.mod_revision >= o.min_mod_revision)
                && (o.max_create_revision == 0 || kv.create_revision <= o.max_create_revision)
                && (o.min_create_revision == 0 || kv.create_revision >= o.min_create_revision)
        });
        let order = match o.sort_order {
            0 if o.sort_target != key_target => ascend,
            order => order,
        };
        if !natural(order) {
            kvs.sort_by(|a, b| {
                let (a, b) = if order == descend { (b, a) } else { (a, b) };
                match o.sort_target {
                    0 => a.key.cmp(&b.key),
                    1 => a.version.cmp(&b.version),
                    2 => a.create_revision.cmp(&b.create_revision),
                    3 => a.mod_revision.cmp(&b.mod_revision),
                    _ => a.value.cmp(&b.value),
                }
            });
        }
        let more = o.limit > 0 && kvs.len() > o.limit as usize;
        if more {
            kvs.truncate(o.limit as usize);
        }
        if o.keys_only {
            let value_target = 4;
            for kv in &mut kvs {
                kv.value = Bytes::new();
                if o.sort_target != value_target {
                    kv.lease = 0;
                }
            }
        }
        Ok((kvs, more, count))
    }

    /// Whether the compaction is accepted.
    pub(crate) fn schedule(&mut self, to: i64) -> bool {
        if to <= self.compacted || to > self.current {
            return false;
        }
        let before = std::mem::replace(&mut self.compacted, to);
        let keep = self.kept(to, true);
        if !self.waiting {
            let hash = hash_rows(&self.rows, before, to, &keep);
            self.hashes.push((hash, before, to));
            self.hashes.sort_by_key(|(.., to)| *to);
            let surplus = self.hashes.len().saturating_sub(10);
            self.hashes.drain(..surplus);
        }
        self.waiting = true;
        // A key deleted and put again in one revision stays readable; etcd itself loses it.
        let again: BTreeSet<_> = self
            .generations(to)
            .into_iter()
            .flat_map(|(_, behind)| behind)
            .map(|row| (row.main, row.sub))
            .collect();
        self.rows.retain(|row| {
            let id = (row.main, row.sub);
            row.main > to || keep.contains(&id) || again.contains(&id)
        });
        true
    }

    pub(crate) fn finish(&mut self) {
        self.finished = self.compacted;
        self.waiting = false;
    }

    /// Hashes of compactions are lost, and those interrupted give none.
    pub(crate) fn restart(&mut self) {
        self.hashes.clear();
    }

    pub(crate) fn hash(&self, revision: i64) -> Result<(u32, i64, i64), Refusal> {
        if let Some(cached) = self.hashes.iter().find(|(.., to)| *to == revision) {
            return Ok(*cached);
        }
        if revision > 0 && revision < self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.current {
            return Err(Refusal::FutureRevision);
        }
        let to = if revision == 0 { self.current } else { revision };
        let hash = hash_rows(&self.rows, self.compacted, to, &self.kept(to, false));
        Ok((hash, self.compacted, to))
    }

    /// Each key's newest change up to a revision, of the generation that was alive then, ended
    /// then, or came next. A tombstone is kept by a compaction that ends exactly with it, and
    /// counts for no hash.
    fn kept(&self, at: i64, with_tombstones: bool) -> BTreeSet<(i64, i64)> {
        let chosen = self.generations(at);
        let newest = chosen
            .iter()
            .filter_map(|(generation, _)| generation.iter().rev().find(|row| row.main <= at));
        newest
            .filter(|row| with_tombstones || !row.is_tombstone)
            .map(|row| (row.main, row.sub))
            .collect()
    }

    /// For every key the generation that matters at a revision, and those behind it.
    fn generations<'m>(&'m self, at: i64) -> Vec<(Vec<&'m Row>, Vec<&'m Row>)> {
        let mut keys: BTreeMap<&Bytes, Vec<&'m Row>> = BTreeMap::new();
        for row in &self.changes {
            keys.entry(&row.key).or_default().push(row);
        }
        let split = |rows: Vec<&'m Row>| {
            let mut generations: Vec<Vec<&'m Row>> = vec![Vec::new()];
            for row in rows {
                generations.last_mut().unwrap().push(row);
                if row.is_tombstone {
                    generations.push(Vec::new());
                }
            }
            let last = generations.len() - 1;
            let ends = |rows: &Vec<&Row>| rows.last().is_some_and(|row| row.main >= at);
            let chosen = generations[..last].iter().position(ends).unwrap_or(last);
            let behind = generations.split_off(chosen + 1).concat();
            (generations.pop().unwrap(), behind)
        };
        keys.into_values().map(split).collect()
    }
}

fn hash_rows(rows: &[Row], compacted: i64, to: i64, keep: &BTreeSet<(i64, i64)>) -> u32 {
    let mut crc = crc32c::crc32c(b"key");
    for row in rows.iter().filter(|row| row.main <= to) {
        let is_covered = row.main <= compacted && !keep.is_empty();
        if is_covered && !keep.contains(&(row.main, row.sub)) {
            continue;
        }
        if row.main == compacted && row.is_tombstone {
            continue;
        }
        let mut key = row.main.to_be_bytes().to_vec();
        key.push(b'_');
        key.extend(row.sub.to_be_bytes());
        key.extend(row.is_tombstone.then_some(b't'));
        crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &key), &row.stored);
    }
    crc
}
