//! All scripts of a directory.

use crate::diff::diff;
use crate::directive::Directive;
use crate::parse::Script;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The variable that has outputs written down instead of compared.
const REWRITE: &str = "HOLDFAST_REWRITE";

/// Who decides what a script's output must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Us: outputs may be rewritten after a look at what changed.
    Own,
    /// The reference: a program that runs it writes the outputs.
    Recorded,
    /// Others: their scripts need no purpose, and may be absent.
    Foreign,
}

/// The scripts of one directory, and how they are compared.
pub struct Suite {
    dir: PathBuf,
    origin: Origin,
    /// Fewer scripts than this fail.
    count_min: usize,
    /// What is compared of an output.
    normal: fn(&str) -> String,
}

impl Suite {
    /// Scripts whose outputs we wrote down; there are at least so many.
    pub fn own(dir: impl Into<PathBuf>, count_min: usize) -> Suite {
        Suite { dir: dir.into(), origin: Origin::Own, count_min, normal: str::to_owned }
    }

    /// Scripts whose outputs the reference gave; there are at least so many.
    pub fn recorded(dir: impl Into<PathBuf>, count_min: usize) -> Suite {
        Suite { origin: Origin::Recorded, ..Suite::own(dir, count_min) }
    }

    /// Scripts of others, that need not be here: their absence is said aloud and proves nothing.
    pub fn foreign(dir: impl Into<PathBuf>) -> Suite {
        Suite { origin: Origin::Foreign, ..Suite::own(dir, 0) }
    }

    /// Compares what this makes of both outputs instead of the outputs.
    #[must_use]
    pub fn compared_by(self, normal: fn(&str) -> String) -> Suite {
        Suite { normal, ..self }
    }

    /// Runs every script with a machine of its own, each up to its first difference; returns how
    /// many there were.
    ///
    /// # Panics
    /// A script fails, is not a script, or there are too few of them.
    pub fn run<M: FnMut(&Directive) -> String>(&self, mut machine: impl FnMut() -> M) -> usize {
        let dir = self.dir.display();
        let Some(files) = files(&self.dir) else {
            assert!(self.origin == Origin::Foreign, "there is no directory {dir}");
            println!("left out, and nothing is shown by it: there are no scripts in {dir}");
            return 0;
        };
        assert!(
            files.len() >= self.count_min && !files.is_empty(),
            "{dir} holds {} scripts, and must hold {}",
            files.len(),
            self.count_min.max(1)
        );
        let is_rewriting = self.origin == Origin::Own && env::var_os(REWRITE).is_some();
        let failures: Vec<String> = files
            .iter()
            .filter_map(|file| self.run_file(file, machine(), is_rewriting).err())
            .collect();
        assert!(
            failures.is_empty(),
            "{} of {} scripts differ\n{}",
            failures.len(),
            files.len(),
            failures.join("\n")
        );
        println!("{dir}: {} scripts", files.len());
        files.len()
    }

    fn run_file(
        &self,
        file: &Path,
        mut machine: impl FnMut(&Directive) -> String,
        is_rewriting: bool,
    ) -> Result<(), String> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let script = Script::parse(&name, &text).map_err(|error| format!("{name}: {error}"))?;
        if self.origin != Origin::Foreign {
            script.require_purpose().map_err(|error| format!("{name}: {error}"))?;
        }
        let mut outputs = Vec::new();
        for directive in script.directives() {
            let _named = Named(&directive.place);
            let mut output = machine(directive);
            if !output.is_empty() && !output.ends_with('\n') {
                output.push('\n');
            }
            if is_rewriting {
                outputs.push(output);
                continue;
            }
            let (expected, found) = ((self.normal)(&directive.expected), (self.normal)(&output));
            if expected != found {
                let (place, command) = (&directive.place, &directive.command);
                return Err(format!("{place}: {command}\n{}", diff(&expected, &found)));
            }
        }
        if is_rewriting {
            let text = script.with_outputs(&outputs);
            fs::write(file, text).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }
}

/// The scripts in a directory, in order of their names; `None` where there is no directory.
fn files(dir: &Path) -> Option<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).ok()?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    Some(files)
}

/// Says where a script was when something panicked.
struct Named<'a>(&'a str);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("at {}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewriting_writes_what_the_machine_printed() {
        let file = env::temp_dir().join(format!("holdfast-script-{}.txt", std::process::id()));
        fs::write(&file, "# Why.\n\nsay\n----\nold\n").unwrap();
        let suite = Suite::own("", 1);
        let say = |_: &Directive| "new".to_owned();
        assert!(suite.run_file(&file, say, false).is_err());
        suite.run_file(&file, say, true).unwrap();
        suite.run_file(&file, say, false).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "# Why.\n\nsay\n----\nnew\n\n");
        fs::remove_file(&file).unwrap();
    }
}
