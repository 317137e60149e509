//! The index against a plain map of histories.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>),
    Tombstone(Vec<u8>),
    Undo,
    Compact(i64),
}

/// Many keys, some in order, with shared beginnings of every length.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..3u8, 0..600u32).prop_map(|(dir, n)| format!("/{dir}/{n:04}").into_bytes()),
        1 => prop::collection::vec(prop::sample::select(b"/01\xff".to_vec()), 0..7),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        60 => key().prop_map(Step::Put),
        20 => key().prop_map(Step::Tombstone),
        5 => Just(Step::Undo),
        1 => (0..2000i64).prop_map(Step::Compact),
    ];
    prop::collection::vec(step, 0..2000)
}

fn compact(index: &Index, at: i64) {
    let mut from = Some(Vec::new());
    while let Some(bound) = from {
        from = index.compact_page(at, &bound).next;
    }
}

fn walked(index: &Index, range: KeyRange<'_>, at: i64) -> Vec<(Vec<u8>, Found)> {
    let mut seen = Vec::new();
    index.walk(range, at, &mut |key: Key<'_>, found: Found| {
        seen.push((key.to_vec(), found));
        true
    });
    seen
}

fn check(index: &Index, model: &BTreeMap<Vec<u8>, History>, bounds: &[Vec<u8>], at: i64) {
    index.tree.read().check();
    assert_eq!(index.len(), model.len());
    for pair in bounds.chunks(2) {
        let [key, end] = pair else { continue };
        for end in [&end[..], b"\0"] {
            let range = KeyRange { key, end };
            let expected: Vec<_> = model
                .iter()
                .filter(|(name, _)| *name >= key && (end == b"\0" || &name[..] < end))
                .filter_map(|(name, history)| Some((name.clone(), history.get(at)?)))
                .collect();
            let expected = if end.is_empty() { walked(index, range, at) } else { expected };
            assert_eq!(index.count(range, at), expected.len());
            assert_eq!(walked(index, range, at), expected);
        }
        assert_eq!(index.get(key, at), model.get(key).and_then(|history| history.get(at)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn leaves_are_a_map(
        steps in steps(),
        bounds in prop::collection::vec(key(), 20),
        back in 0..2000i64,
    ) {
        let index = Index::default();
        let mut model: BTreeMap<Vec<u8>, History> = BTreeMap::new();
        let (mut main, mut compacted, mut last) = (1, 0, None);
        for step in steps {
            let revision = Revision { main: main + 1, sub: 0 };
            match step {
                Step::Put(key) => {
                    let given = index.put(&key, revision);
                    let expected = match model.get_mut(&key) {
                        Some(history) => history.put(revision),
                        None => {
                            model.insert(key.clone(), History::once(revision));
                            (revision.main, 1)
                        }
                    };
                    assert_eq!(given, expected);
                    (main, last) = (main + 1, Some(key));
                }
                Step::Tombstone(key) => {
                    if index.get(&key, i64::MAX).is_some() {
                        index.tombstone(&key, revision);
                        model.get_mut(&key).unwrap().tombstone(revision);
                        (main, last) = (main + 1, Some(key));
                    }
                }
                Step::Undo => {
                    if let Some(key) = last.take() {
                        index.undo(&key);
                        if !model.get_mut(&key).unwrap().undo() {
                            model.remove(&key);
                        }
                    }
                }
                Step::Compact(at) => {
                    let at = at.min(main);
                    compacted = compacted.max(at);
                    compact(&index, at);
                    model.retain(|_, history| history.compact(at));
                    last = None;
                }
            }
        }
        check(&index, &model, &bounds, main);
        check(&index, &model, &bounds, (main - back).max(compacted));
    }

    #[test]
    fn an_index_restored_in_parts_is_the_same(steps in steps(), cuts in prop::collection::vec(0..2000i64, 0..4)) {
        let whole = Index::default();
        let mut parts: Vec<Tree> = cuts.iter().map(|_| Tree::default()).collect();
        parts.push(Tree::default());
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut main = 1;
        let mut model: BTreeMap<Vec<u8>, History> = BTreeMap::new();
        for step in steps {
            let at = Revision { main: main + 1, sub: 0 };
            let part = &mut parts[cuts.partition_point(|cut| *cut <= main)];
            match step {
                Step::Put(key) => {
                    let (created, version) = whole.put(&key, at);
                    let new = || (History::restored(at, created, version), ());
                    part.upsert(&key, |history| { history.put(at); }, new);
                    model.entry(key).and_modify(|h| { h.put(at); }).or_insert(History::once(at));
                    main += 1;
                }
                Step::Tombstone(key) if whole.get(&key, i64::MAX).is_some() => {
                    whole.tombstone(&key, at);
                    let tombstone = || History::restored_tombstone(at);
                    part.upsert(&key, |history| history.join(tombstone()), || (tombstone(), ()));
                    model.get_mut(&key).unwrap().tombstone(at);
                    main += 1;
                }
                _ => {}
            }
        }
        let joined = Index::new(join(parts));
        joined.tree.read().check();
        let all = KeyRange { key: &[], end: b"\0" };
        for at in [main, main / 2, main / 3] {
            assert_eq!(walked(&joined, all, at), walked(&whole, all, at));
        }
        let histories = joined.tree.into_inner().into_entries();
        assert_eq!(histories.collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn long_names_split_a_leaf_before_it_is_wide() {
    let index = Index::default();
    let name = |n: i64| [&vec![b'x'; 30_000][..], &n.to_be_bytes()].concat();
    let scattered = |n: i64| (n * 7) % 40;
    for n in 0..40 {
        // The common beginning is cut short by a name without it, and the text grows.
        index.put(&name(scattered(n)), Revision { main: n + 2, sub: 0 });
        index.put(&[b'a' + n as u8], Revision { main: n + 2, sub: 1 });
    }
    index.tree.read().check();
    let all = KeyRange { key: b"xx", end: b"\0" };
    let expected: Vec<_> = (0..40).map(name).collect();
    let seen: Vec<_> = walked(&index, all, 100).into_iter().map(|(name, _)| name).collect();
    let expected: Vec<_> = expected.into_iter().chain([vec![b'y'], vec![b'z']]).collect();
    assert_eq!(seen.iter().filter(|name| name.len() > 1).count(), 40);
    assert_eq!(seen[..42], expected[..]);
}
