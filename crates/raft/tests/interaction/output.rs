//! What a command prints.

/// Log levels, from the chattiest on. The last one silences commands, too, except errors.
pub(crate) const LEVELS: [&str; 6] = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"];

/// What a command prints.
#[derive(Default)]
pub(crate) struct Output {
    text: String,
    /// Place in [`LEVELS`].
    pub(crate) level: usize,
}

impl Output {
    pub(crate) fn is_quiet(&self) -> bool {
        self.level == LEVELS.len() - 1
    }

    pub(crate) fn print(&mut self, text: &str) {
        if !self.is_quiet() {
            self.text.push_str(text);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
    }

    /// Everything printed, or `ok`.
    pub(crate) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() { "ok".into() } else { text }
    }

    /// What is printed from now on is indented by `end_indent`, which takes what comes back here.
    pub(crate) fn begin_indent(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    pub(crate) fn end_indent(&mut self, outer: String) {
        let inner = std::mem::replace(&mut self.text, outer);
        for line in inner.lines() {
            self.text = format!("{}  {line}\n", self.text);
        }
    }
}
