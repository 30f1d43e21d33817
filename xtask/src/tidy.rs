//! `cargo xtask tidy`: rules about the source text that neither the compiler nor
//! clippy can check.
//!
//! Reads `crates/`, `bins/`, `tests/` and `xtask/`. Each rule is a function from the
//! text of one file to findings, and has a test. Called by `main` and `check`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

const FOLDERS: &[&str] = &["crates", "bins", "tests", "xtask"];

/// A longer file contains more than one idea.
const MAX_LINES: usize = 600;

/// Lines above a call in which its `#[expect(clippy::disallowed_methods, ..)]` may be.
const EXCUSE_LINES: usize = 6;

/// Written in two pieces, so that this file does not violate the rule.
const MEMORY_KEYWORD: &str = concat!("un", "safe");

/// Checks every Rust source file of the project.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        collect(&workspace.root.join(folder), &mut files)?;
    }
    files.sort();
    let mut findings = 0;
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path.strip_prefix(&workspace.root).unwrap_or(path);
        for finding in check(name, &text) {
            eprintln!("{}:{}: {}", name.display(), finding.line, finding.advice);
            findings += 1;
        }
    }
    if findings > 0 {
        bail!("{findings} findings in {} files", files.len());
    }
    println!("tidy: {} files", files.len());
    Ok(())
}

/// A line, counted from 1, and advice on how to fix it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    advice: String,
}

fn check(name: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(module_docs(name, text));
    findings.extend(length(text));
    findings.extend(memory_keyword(text));
    findings.extend(sleeps(name, text));
    findings.extend(unbounded(text));
    findings
}

/// Every module opens with `//!`; only inner attributes may precede it.
fn module_docs(name: &Path, text: &str) -> Option<Finding> {
    if name.ends_with("tests.rs") || text.lines().take(5).any(|line| line.contains("@generated")) {
        return None;
    }
    let mut inside_attribute = false;
    for (number, line) in numbered(text) {
        let line = line.trim();
        if inside_attribute || line.starts_with("#!") {
            let opens = inside_attribute || line.starts_with("#![");
            inside_attribute = opens && !line.ends_with(']');
        } else if line.starts_with("//!") {
            return None;
        } else if !line.is_empty() {
            return Some(finding(
                number,
                "open the module with `//!`: what it owns, what it does not",
            ));
        }
    }
    Some(finding(1, "an empty module; delete it or open it with `//!`"))
}

fn length(text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| {
        finding(MAX_LINES, &format!("{lines} lines, more than {MAX_LINES}; split the file"))
    })
}

fn memory_keyword(text: &str) -> Vec<Finding> {
    let advice = format!("the word `{MEMORY_KEYWORD}` is banned, in code and in comments");
    numbered(text)
        .filter(|(_, line)| has_word(line, MEMORY_KEYWORD))
        .map(|(number, _)| finding(number, &advice))
        .collect()
}

/// A thread may sleep only under an `#[expect]`, which clippy requires too; a test
/// on tokio may sleep only under paused time.
fn sleeps(name: &Path, text: &str) -> Vec<Finding> {
    let blocking = concat!("thread::", "sleep(");
    let tokio = concat!("time::", "sleep(");
    let paused = text.contains("start_paused") || text.contains("time::pause(");
    let lines: Vec<&str> = text.lines().collect();
    let mut in_test =
        name.components().any(|part| part.as_os_str() == "tests") || name.ends_with("tests.rs");
    let mut findings = Vec::new();
    for (number, line) in numbered(text) {
        in_test |= line.starts_with("mod tests {");
        let above = &lines[number.saturating_sub(1 + EXCUSE_LINES)..number - 1];
        let excused = above.iter().any(|line| line.contains("clippy::disallowed_methods"));
        if line.contains(blocking) && !excused {
            findings.push(finding(
                number,
                "wait for the event; if there is none, poll with a deadline under \
                 `#[expect(clippy::disallowed_methods, reason = ..)]`",
            ));
        }
        if in_test && line.contains(tokio) && !paused {
            findings.push(finding(
                number,
                "a test that sleeps hides a race; pause time or wait for the event",
            ));
        }
    }
    findings
}

fn unbounded(text: &str) -> Vec<Finding> {
    let call = concat!("unbounded", "_channel");
    numbered(text)
        .filter(|(_, line)| has_word(line, call))
        .map(|(number, _)| finding(number, "give the channel a bound, and its reason in a comment"))
        .collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("generated") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

fn finding(line: usize, advice: &str) -> Finding {
    Finding { line, advice: advice.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(name: &str, text: &str) -> Vec<usize> {
        check(Path::new(name), text).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn only_attributes_may_precede_module_docs() {
        assert_eq!(lines("a.rs", "//! Doc.\n"), NONE);
        assert_eq!(lines("a.rs", "#!/bin/x\n#![allow(\n    a,\n)]\n\n//! Doc.\n"), NONE);
        assert_eq!(lines("a.rs", "\nuse a;\n//! Doc.\n"), [2]);
        assert_eq!(lines("a.rs", ""), [1]);
        assert_eq!(lines("crates/a/src/tests.rs", "use a;\n"), NONE);
        assert_eq!(lines("a.rs", "// @generated\nuse a;\n"), NONE);
    }

    #[test]
    fn long_files_are_found() {
        let text = |count: usize| format!("//! Doc.\n{}", "\n".repeat(count - 1));
        assert_eq!(lines("a.rs", &text(MAX_LINES)), NONE);
        assert_eq!(lines("a.rs", &text(MAX_LINES + 1)), [MAX_LINES]);
    }

    #[test]
    fn the_memory_keyword_is_found_as_a_word() {
        let text = format!("//! Doc.\n{MEMORY_KEYWORD} {{}}\nlet {MEMORY_KEYWORD}_code = 1;\n");
        assert_eq!(lines("a.rs", &text), [2]);
    }

    #[test]
    fn sleeps_need_an_expect_or_paused_time() {
        let blocking = concat!("//! Doc.\nthread::", "sleep(x);\n");
        assert_eq!(lines("crates/a/src/b.rs", blocking), [2]);
        let excused = blocking.replace("Doc.", "Doc.\n#[expect(clippy::disallowed_methods)]");
        assert_eq!(lines("crates/a/src/b.rs", &excused), NONE);
        let timer = concat!("//! Doc.\ntime::", "sleep(x);\n");
        assert_eq!(lines("crates/a/src/b.rs", timer), NONE);
        assert_eq!(lines("crates/a/tests/b.rs", timer), [2]);
        assert_eq!(lines("crates/a/src/b.rs", &timer.replace("Doc.", "Doc.\nmod tests {")), [3]);
        assert_eq!(lines("tests/b.rs", &timer.replace("Doc.", "Doc. start_paused")), NONE);
    }

    #[test]
    fn unbounded_channels_are_found() {
        assert_eq!(lines("a.rs", concat!("//! Doc.\nmpsc::unbounded", "_channel()\n")), [2]);
    }
}
