//! The signals that reach a daemon: which of them end it in order, and which
//! would end it without need.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGXFSZ};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Makes a write beyond the file size limit of the process fail with EFBIG,
/// which concerns that write alone. By default the signal SIGXFSZ ends the
/// process.
///
/// # Errors
/// What the system answers.
pub fn survive_file_size_limit() -> io::Result<()> {
    // A handler is enough; the write reports the rest.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// SIGINT, SIGTERM, and SIGHUP unless the process was started with SIGHUP
/// ignored, as `nohup` does.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let hangup = if is_ignored(SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Waits for a signal and names it.
    pub(crate) async fn recv(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }
}

/// Whether this process ignores a signal, as the system reports it. Where it
/// reports nothing, no signal counts as ignored.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_in_mask(&status, signal)
}

/// Whether a signal is in the mask `SigIgn` of a status file: hexadecimal, the
/// lowest bit for signal 1.
fn is_in_mask(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u128::from_str_radix(digits.trim(), 16).ok());
    let bit = signal.checked_sub(1).and_then(|bit| u32::try_from(bit).ok());
    mask.zip(bit).is_some_and(|(mask, bit)| mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        // SIGHUP (1) and SIGPIPE (13).
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t00000001\n";
        assert!(is_in_mask(status, 1) && is_in_mask(status, 13));
        assert!(!is_in_mask(status, 2) && !is_in_mask(status, 0) && !is_in_mask(status, 1000));
        assert!(!is_in_mask("", 1));
    }
}
