//! URLs without the passwords in them, for everything that is shown.

/// What is shown in a password's place, as Go's `URL.Redacted` has it.
const HIDDEN: &str = "xxxxx";

/// A value that holds URLs as it may be shown: of every user information the name alone, `http://u:xxxxx@h`.
///
/// The value is what was typed, right or wrong: one URL, several with commas between them, or `name=url`
/// pairs; with a scheme or without. Whatever stands between a colon and an `@` counts as a password, with
/// slashes and commas in it, so that rather too much is hidden than too little. Ports, IPv6 addresses and
/// paths without an `@` stay.
pub fn redacted(value: &str) -> String {
    if !value.contains('@') {
        return value.to_owned();
    }
    let elements = elements(value);
    elements.into_iter().map(redacted_element).collect::<Vec<_>>().join(",")
}

/// Whether cutting a list at its commas cuts through a password, of which a piece alone tells nothing.
pub fn is_cut_through(list: &str) -> bool {
    let pieces: Vec<String> = list.split(',').map(redacted).collect();
    pieces.join(",") != redacted(list)
}

/// Cuts a list at those of its commas that do not stand in a password.
fn elements(list: &str) -> Vec<&str> {
    let mut elements = Vec::new();
    let (mut start, mut rest) = (0, list);
    loop {
        let len = element_len(rest);
        elements.push(&rest[..len]);
        start += len + 1;
        match list.get(start..) {
            Some(more) if start <= list.len() => rest = more,
            _ => return elements,
        }
    }
}

/// How far the first element reaches: to the first comma, unless a password has begun and goes on there.
fn element_len(list: &str) -> usize {
    let first = list.find(',').unwrap_or(list.len());
    let piece = &list[..first];
    let Some(tail) = after_colon(piece).filter(|_| !piece.contains('@')) else { return first };
    let Some(at) = list.find('@') else { return first };
    let end = list[at..].find(',').map_or(list.len(), |comma| at + comma);
    // The piece with the `@` stands for itself if it has a user of its own, or a scheme or name before it.
    let last = &list[list[..at].rfind(',').map_or(0, |comma| comma + 1)..at];
    let is_own = last.contains([':', '=']);
    if is_port(tail) && is_own { first } else { end }
}

/// What follows the first colon of the authority; of an IPv6 address in brackets, what follows those.
fn after_colon(element: &str) -> Option<&str> {
    let authority = &element[authority_at(element)..];
    match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((_, behind)) => behind.strip_prefix(':'),
        None => authority.split_once(':').map(|(_, tail)| tail),
    }
}

/// A port, and perhaps a path.
fn is_port(tail: &str) -> bool {
    let end = tail.find(['/', '?', '#']).unwrap_or(tail.len());
    tail[..end].bytes().all(|byte| byte.is_ascii_digit())
}

/// Where the authority begins: behind `name=` and `scheme://`, if there is any such thing.
fn authority_at(element: &str) -> usize {
    let first_colon = element.find(':').unwrap_or(element.len());
    let start = element[..first_colon].rfind('=').map_or(0, |equals| equals + 1);
    let scheme = element[start..first_colon].trim_start();
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    match is_scheme && element[first_colon..].starts_with("://") {
        true => first_colon + "://".len(),
        false => start,
    }
}

fn redacted_element(element: &str) -> String {
    let start = authority_at(element);
    let Some(end) = element.rfind('@').filter(|end| *end >= start) else {
        return element.to_owned();
    };
    match element[start..end].find(':').map(|colon| start + colon + 1) {
        Some(secret) if secret < end => {
            format!("{}{HIDDEN}{}", &element[..secret], &element[end..])
        }
        _ => element.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_user_information_the_name_alone_is_shown() {
        for (value, shown) in [
            ("http://u:p@h:1/x", "http://u:xxxxx@h:1/x"),
            ("HTTP://u:p@h", "HTTP://u:xxxxx@h"),
            ("u:p@h:1", "u:xxxxx@h:1"),
            ("u:p:q@r@h:1", "u:xxxxx@h:1"),
            ("http://u:p/x@h", "http://u:xxxxx@h"),
            ("http://u:p?x@h", "http://u:xxxxx@h"),
            ("http://u:p#x@h", "http://u:xxxxx@h"),
            ("http://u:2/x@h", "http://u:xxxxx@h"),
            ("http://u:p w@h", "http://u:xxxxx@h"),
            ("http://:p@h", "http://:xxxxx@h"),
            ("http:/u:p@h", "http:xxxxx@h"),
            ("http:u:p@h", "http:xxxxx@h"),
            ("u:a://p@h", "u:xxxxx@h"),
            ("//u:p@h", "//u:xxxxx@h"),
            ("http://u:p@[fd00::1]:1", "http://u:xxxxx@[fd00::1]:1"),
            ("unix://u:p@x", "unix://u:xxxxx@x"),
        ] {
            assert_eq!(redacted(value), shown);
        }
    }

    #[test]
    fn every_element_of_a_list_is_redacted() {
        for (list, shown) in [
            ("http://u:p@a:1,http://v:q@b:2", "http://u:xxxxx@a:1,http://v:xxxxx@b:2"),
            ("http://a:1,u:p@b:2,c:3", "http://a:1,u:xxxxx@b:2,c:3"),
            ("http://[::1]:1,http://u:p@b", "http://[::1]:1,http://u:xxxxx@b"),
            ("m=http://u:p@a:1,n=http://b:2", "m=http://u:xxxxx@a:1,n=http://b:2"),
            ("m=http://a:1,n=http://u:p=q@b:2", "m=http://a:1,n=http://u:xxxxx@b:2"),
            ("m=u:p@a:1,", "m=u:xxxxx@a:1,"),
            ("http://u:p,w@a:1,b:2", "http://u:xxxxx@a:1,b:2"),
            ("http://u:12,w@a:1", "http://u:xxxxx@a:1"),
            ("u:p,q:r,w@a:1", "u:xxxxx@a:1"),
            (",http://u:p@a,,", ",http://u:xxxxx@a,,"),
        ] {
            assert_eq!(redacted(list), shown);
        }
        assert!(is_cut_through("http://u:p,w@a:1") && !is_cut_through("http://u:p@a:1,b:2"));
    }

    #[test]
    fn what_holds_no_password_stays() {
        for harmless in [
            "",
            "http://h:1",
            "http://u@h:1",
            "h:1",
            "unix:///a@b:c",
            "unix:@a",
            "@",
            "http://:@h",
            "a=http://h:1,b=http://[::1]:2",
            "http://h:x,http://i:1",
            "u@h:1,h:1",
            "a@b,c@d",
            ",",
        ] {
            assert_eq!(redacted(harmless), harmless);
        }
    }
}
