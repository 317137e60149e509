//! JSON as the reference's language writes it.

use serde_json::Value;

/// A value on a line. Go escapes what HTML and JavaScript might take amiss; these characters can
/// only stand inside strings.
pub fn line(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                line.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_html_might_take_amiss_is_escaped() {
        assert_eq!(line(&Value::from("<&\u{2028}")), "\"\\u003c\\u0026\\u2028\"\n");
    }
}
