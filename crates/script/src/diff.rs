//! Where two texts differ, line by line.

/// More lines than this on either side are shown one text after the other.
const LINES_MAX: usize = 2000;

/// Both texts as one: lines of the first alone after `-`, of the second alone after `+`, of both
/// after two spaces.
pub fn diff(expected: &str, found: &str) -> String {
    let one: Vec<&str> = expected.lines().collect();
    let other: Vec<&str> = found.lines().collect();
    if one.len().max(other.len()) > LINES_MAX {
        return format!("--- expected\n{expected}+++ found\n{found}");
    }
    let common = common_lengths(&one, &other);
    let (mut at, mut to, mut text) = (0, 0, String::new());
    while at < one.len() || to < other.len() {
        if at < one.len() && to < other.len() && one[at] == other[to] {
            text = text + "  " + one[at] + "\n";
            (at, to) = (at + 1, to + 1);
        } else if to == other.len() || (at < one.len() && common[at + 1][to] >= common[at][to + 1])
        {
            text = text + "- " + one[at] + "\n";
            at += 1;
        } else {
            text = text + "+ " + other[to] + "\n";
            to += 1;
        }
    }
    text
}

/// For each pair of places, how many lines the rests behind them have in common, in order.
fn common_lengths(one: &[&str], other: &[&str]) -> Vec<Vec<usize>> {
    let mut common = vec![vec![0; other.len() + 1]; one.len() + 1];
    for at in (0..one.len()).rev() {
        for to in (0..other.len()).rev() {
            common[at][to] = if one[at] == other[to] {
                common[at + 1][to + 1] + 1
            } else {
                common[at + 1][to].max(common[at][to + 1])
            };
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_side_are_marked() {
        assert_eq!(diff("a\nb\nc\n", "a\nx\nc\nd\n"), "  a\n- b\n+ x\n  c\n+ d\n");
        assert_eq!(diff("", "a\n"), "+ a\n");
        assert_eq!(diff("a\n", ""), "- a\n");
    }
}
