//! Which of a peer's addresses to try next.

use address::{Error, Url, Urls};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The URLs among `texts`, in the order in which etcd tries them. An invalid URL
/// was not refused where it came from, and must not make the others useless.
///
/// # Errors
/// There is none; what is wrong with the first text.
pub(crate) fn usable<S: AsRef<str>>(texts: &[S]) -> Result<Vec<Url>, Error> {
    let mut urls: Vec<Url> =
        texts.iter().filter_map(|text| Url::of_member(text.as_ref()).ok()).collect();
    urls.sort();
    if urls.is_empty() { Urls::new(texts).map(|urls| urls.into_iter().collect()) } else { Ok(urls) }
}

/// Chooses among a peer's addresses: the same one until it fails, then the next, round and round.
/// There is always at least one.
#[derive(Debug)]
pub(crate) struct Picker {
    choice: Mutex<Choice>,
    /// Counts changes of the addresses.
    epoch: watch::Sender<u64>,
}

#[derive(Debug)]
struct Choice {
    urls: Vec<Url>,
    picked: usize,
}

impl Picker {
    /// `urls` is not empty.
    pub(crate) fn new(urls: Vec<Url>) -> Picker {
        assert!(!urls.is_empty(), "a peer has an address");
        Picker { choice: Mutex::new(Choice { urls, picked: 0 }), epoch: watch::Sender::new(0) }
    }

    pub(crate) fn pick(&self) -> Url {
        let choice = self.choice.lock();
        choice.urls[choice.picked].clone()
    }

    /// `url` did not work. It may have been given up already.
    pub(crate) fn unreachable(&self, url: &Url) {
        let mut choice = self.choice.lock();
        if choice.urls[choice.picked] == *url {
            choice.picked = (choice.picked + 1) % choice.urls.len();
        }
    }

    /// From now on the peer is at `urls`. Whoever watches the epoch dials anew.
    pub(crate) fn update(&self, urls: Vec<Url>) {
        assert!(!urls.is_empty(), "a peer has an address");
        let mut choice = self.choice.lock();
        if choice.urls == urls {
            return;
        }
        *choice = Choice { urls, picked: 0 };
        drop(choice);
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Changes with the addresses.
    pub(crate) fn epoch(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_passed_over() {
        let texts = |texts: &[&str]| {
            let urls = usable(texts).map_err(|error| error.to_string())?;
            Ok::<_, String>(urls.iter().map(Url::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            texts(&["http://b:1", "nonsense", "HTTP://a:1", "http://a"]),
            Ok(vec!["http://a:1".into(), "http://b:1".into()])
        );
        let why = "URL must not contain a path: http://a:1/";
        assert_eq!(texts(&["http://a:1/", ""]), Err(why.into()));
        assert_eq!(texts(&[]), Err("no valid URLs given".into()));
    }

    #[test]
    fn a_failed_address_gives_way_to_the_next_one() {
        let urls = usable(&["http://b:2", "http://a:1"]).unwrap();
        let picker = Picker::new(urls);
        let first = picker.pick();
        assert_eq!(first.to_string(), "http://a:1");
        picker.unreachable(&first);
        picker.unreachable(&first);
        let second = picker.pick();
        assert_eq!(second.to_string(), "http://b:2");
        picker.unreachable(&second);
        assert_eq!(picker.pick(), first);
    }

    #[test]
    fn only_a_change_of_addresses_is_told() {
        let urls = usable(&["http://a:1"]).unwrap();
        let picker = Picker::new(urls.clone());
        let epoch = picker.epoch();
        picker.update(urls);
        assert!(!epoch.has_changed().unwrap());
        picker.update(usable(&["http://b:1"]).unwrap());
        assert!(epoch.has_changed().unwrap());
        assert_eq!(picker.pick().to_string(), "http://b:1");
    }
}
