//! Progress on standard error, when that is a terminal; silence otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render;

/// A bar, or nothing.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// A bar that shows bytes, of `size` if that is known.
    pub(crate) fn new(verb: &'static str, size: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr_with_hz(10));
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_prefix(verb);
        let progress = Self { bar, started: Instant::now() };
        progress.style(size.is_some());
        progress.bar.enable_steady_tick(Duration::from_millis(200));
        progress
    }

    /// Shows bytes done, of `size` if that is known, and a message.
    pub(crate) fn show(&self, bytes: u64, size: Option<u64>, message: String) {
        if let Some(size) = size
            && self.bar.length() != Some(size)
        {
            self.bar.set_length(size);
            self.style(true);
        }
        self.bar.set_position(bytes);
        self.bar.set_message(message);
    }

    /// Removes the bar and prints the outcome in one line.
    pub(crate) fn finish(self, done: &str, bytes: u64) {
        let hidden = self.bar.is_hidden();
        self.bar.finish_and_clear();
        if !hidden {
            let elapsed = self.started.elapsed();
            let rate = HumanBytes(per_second(bytes, elapsed));
            let bytes = HumanBytes(bytes);
            render::note(&format!("{done} {bytes} in {} ({rate}/s)", short(elapsed)));
        }
    }

    /// Removes the bar.
    pub(crate) fn clear(self) {
        self.bar.finish_and_clear();
    }

    fn style(&self, sized: bool) {
        let template = if sized {
            "{prefix} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}"
        } else {
            "{prefix} {spinner} {bytes} {binary_bytes_per_sec} {msg}"
        };
        let style = ProgressStyle::with_template(template).expect("the templates above are valid");
        self.bar.set_style(style.progress_chars("=> "));
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1000 / millis).unwrap_or(u64::MAX)
}

fn short(elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(60) {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else {
        HumanDuration(elapsed).to_string()
    }
}
