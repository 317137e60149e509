//! A suite passes what agrees and fails everything else.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use script::{Directive, Suite};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// A directory of scripts, gone at the end.
struct Scripts(PathBuf);

impl Scripts {
    fn new(name: &str, files: &[(&str, &str)]) -> Scripts {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        Scripts(dir)
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn echo() -> impl FnMut(&Directive) -> String {
    |directive| directive.input.clone()
}

/// What a suite fails with; empty where it passes.
fn failure(suite: &Suite) -> String {
    let outcome = catch_unwind(AssertUnwindSafe(|| suite.run(echo)));
    outcome.err().map_or(String::new(), |panic| *panic.downcast::<String>().unwrap())
}

const GOOD: &str = "# Says what it is told.\n\nsay\nhello\n----\nhello\n";

#[test]
fn scripts_that_agree_are_counted() {
    let scripts = Scripts::new("agree", &[("a.txt", GOOD), ("b.txt", GOOD), ("notes.md", "no")]);
    assert_eq!(Suite::own(&scripts.0, 2).run(echo), 2);
    assert_eq!(Suite::recorded(&scripts.0, 1).run(echo), 2);
}

#[test]
fn a_difference_is_shown_by_line() {
    let wrong = GOOD.replace("----\nhello", "----\nhallo");
    let scripts = Scripts::new("differ", &[("a.txt", GOOD), ("b.txt", &wrong)]);
    let failure = failure(&Suite::own(&scripts.0, 1));
    assert!(failure.contains("1 of 2 scripts") && failure.contains("b.txt:3: say"), "{failure}");
    assert!(failure.contains("- hallo\n+ hello\n"), "{failure}");
}

#[test]
fn too_few_scripts_no_directory_and_no_purpose_fail() {
    let scripts = Scripts::new("few", &[("a.txt", GOOD)]);
    assert!(failure(&Suite::own(&scripts.0, 2)).contains("holds 1 scripts, and must hold 2"));
    let missing = scripts.0.join("missing");
    assert!(failure(&Suite::own(&missing, 0)).contains("there is no directory"));
    assert!(failure(&Suite::recorded(&missing, 0)).contains("there is no directory"));
    let scripts = Scripts::new("purpose", &[("a.txt", "say\nhello\n----\nhello\n")]);
    assert!(failure(&Suite::own(&scripts.0, 1)).contains("begins with a comment"));
    assert_eq!(Suite::foreign(&scripts.0).run(echo), 1, "others need not say why");
    let scripts = Scripts::new("none", &[]);
    assert!(failure(&Suite::own(&scripts.0, 0)).contains("must hold 1"));
}

#[test]
fn scripts_of_others_may_be_absent_and_then_count_for_nothing() {
    assert_eq!(Suite::foreign("no such directory").run(echo), 0);
}

#[test]
fn what_is_not_compared_may_differ() {
    let scripts = Scripts::new("normal", &[("a.txt", &GOOD.replace("----\nhello", "----\nHELLO"))]);
    assert_eq!(Suite::own(&scripts.0, 1).compared_by(str::to_lowercase).run(echo), 1);
}
