//! Whatever is written, reading it ends well, and what was read is written so that it reads the same.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use address::{Endpoint, Url, Urls, UrlsByName, normalize_host, parse_ip, port_number};
use proptest::prelude::*;

/// Texts that look more like addresses than most.
fn texts() -> impl Strategy<Value = String> {
    let scheme = prop_oneof!["", "https?:", "(?i)http:", "unixs?:", "[a-z+.-]{0,5}:", ":"];
    let slashes = "/{0,3}";
    let host = prop_oneof!["[a-z.%0-9é-]{0,8}", "\\[[0-9a-f:.%]{0,20}\\]?", "[!-~]{0,8}"];
    let rest = prop_oneof!["", ":[0-9]{0,6}", ".{0,8}", "[!-~]{0,8}"];
    (scheme, slashes, host, rest).prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}"))
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(text in texts()) {
        if let Ok(url) = Url::of_member(&text) {
            let again = Url::of_member(url.as_str()).unwrap();
            prop_assert_eq!(&again, &url);
            prop_assert!(again.is_same_place(&url) && url.escaped_host().is_ascii());
        }
        if let Ok(named) = UrlsByName::parse(&format!("m={text}")) {
            prop_assert_eq!(UrlsByName::parse(&named.to_string()).unwrap(), named);
        }
    }

    #[test]
    fn nothing_panics(text in prop_oneof![texts().boxed(), ".{0,40}".boxed()]) {
        let _ = (Endpoint::parse(&text), parse_ip(&text), port_number(&text));
        let _ = (normalize_host(&text), UrlsByName::parse(&text));
        if let Ok(urls) = Urls::parse(&text) {
            let _ = (urls.check_binding(), urls.check_hosts());
            for url in &urls {
                let _ = (url.dial(), url.listen_address(|| [127, 0, 0, 1].into()));
            }
        }
        let list = [text];
        let _ = address::same(&list, &["http://a:1".into()], &|url| {
            address::resolve(url, &|_| Ok([10, 0, 0, 1].into()))
        });
    }
}
