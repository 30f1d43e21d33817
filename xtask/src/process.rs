//! Runs other programs, to their end or to a deadline; finds out whether a program
//! is installed; shows a command as it can be typed.
//!
//! Knows nothing about the programs. Called by every task.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Time between two checks while waiting for a child process or a file.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs a command that inherits this process's terminal; fails unless it exits with
/// 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting `{}`", show(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", show(command));
    }
    Ok(())
}

/// Whether a command starts and exits with 0. Its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The first file of this name in `PATH`, or in the directories of administration
/// tools, which many users do not have in `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Calls `ready` until it returns a value or an error. `None` if the deadline passes
/// first.
pub(crate) fn poll<T>(
    deadline: Instant,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    loop {
        if let Some(value) = ready()? {
            return Ok(Some(value));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        pause();
    }
}

/// Waits for a child process; `None` if it still runs at the deadline.
pub(crate) fn wait(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    poll(deadline, || child.try_wait().context("waiting for a child process"))
}

/// A command as it can be typed into a shell at the root of the repository.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let environment = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quote(&value?.to_string_lossy())))
    });
    let arguments = command.get_args().map(|argument| quote(&argument.to_string_lossy()));
    environment
        .chain([quote(&program.to_string_lossy())])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process sends no event, and there is no async runtime"
)]
fn pause() {
    thread::sleep(POLL_INTERVAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.args(["clippy", "--", "it's", ""]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(show(&command), r"RUSTDOCFLAGS='-D warnings' cargo clippy -- 'it'\''s' ''");
    }

    #[test]
    fn poll_ends_at_its_deadline_and_returns_errors() {
        let now = Instant::now();
        assert_eq!(poll::<()>(now, || Ok(None)).expect("no error"), None);
        assert_eq!(poll(now, || Ok(Some(7))).expect("no error"), Some(7));
        assert!(poll::<()>(now, || bail!("dead")).is_err());
    }
}
