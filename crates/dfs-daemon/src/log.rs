//! The log of the daemon on standard error.
//!
//! Owns the filter, the two formats and the writer. A line that cannot be
//! written never fails, ends or delays the code that logs it: lines go through
//! a bounded queue to a thread of their own, and that thread drops and counts
//! what the system refuses, as it does when the reader of a pipe has ended or
//! the disk is full. The queue also drops lines while it is full, which
//! happens when the reader of a pipe stands still.

use std::env::{self, VarError};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use dfs_metrics::Counter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;

use crate::limits::{LOG_QUEUE_BYTES, LOG_QUEUE_LINES};
use crate::timing::LOG_FLUSH_TIMEOUT;

/// The environment variable with the filter.
const VARIABLE: &str = "DFS_LOG";
/// The filter if the variable is not set. The DHT warns whenever it has no peer.
const DEFAULT_FILTER: &str = "info,libp2p_kad=error";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A log filter that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The variable is not UTF-8.
    #[error("{VARIABLE} is not valid UTF-8; {FORM}")]
    NotUnicode,
    /// A word that is no level would be taken for a module, and so silence all
    /// other modules.
    #[error("{VARIABLE}: {word:?} is not a log level, and as a module it needs one; {FORM}")]
    NotALevel {
        /// The word.
        word: String,
    },
    /// A directive that is not valid.
    #[error("{VARIABLE}: {text:?} is not a log filter; {FORM}")]
    Invalid {
        /// The text of the variable.
        text: String,
        /// What is wrong with it.
        source: ParseError,
    },
}

/// What a filter looks like.
const FORM: &str = "write it as info,dfs_net=debug (levels: error, warn, info, debug, trace, off)";

/// The log of this process.
#[derive(Debug, Clone)]
pub struct Log {
    queue: Queue,
}

impl Log {
    /// Starts logging to standard error, filtered by the environment.
    ///
    /// # Errors
    /// [`LogError`] if the environment holds no valid filter.
    pub fn start(format: LogFormat) -> Result<Self, LogError> {
        let filter = match env::var(VARIABLE) {
            Ok(text) => parse(&text)?,
            Err(VarError::NotPresent) => parse("")?,
            Err(VarError::NotUnicode(_)) => return Err(LogError::NotUnicode),
        };
        let (queue, lines) = Queue::new();
        let counts = queue.counts.clone();
        // Without the thread the receiver is gone, so every line is dropped and
        // counted.
        let _ = thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut writer = LineWriter::new(io::stderr(), counts);
            while let Ok(entry) = lines.recv() {
                writer.handle(entry);
            }
        });
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(queue.clone())
            .with_ansi(format == LogFormat::Text && io::stderr().is_terminal())
            // It would report by `eprintln!`, which panics.
            .log_internal_errors(false);
        match format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().with_current_span(false).init(),
        }
        panic::set_hook(Box::new(log_panic));
        Ok(Self { queue })
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn lines_dropped(&self) -> Counter {
        self.queue.counts.dropped.clone()
    }

    /// Waits until what was logged so far has been written, at most a little
    /// while: standard error may take nothing any more.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.lines.try_send(Entry::Flush(done)).is_ok() {
            let _ = written.recv_timeout(LOG_FLUSH_TIMEOUT);
        }
    }
}

/// Logs a panic. The hook of the standard library writes to standard error itself, and so
/// stops the thread that has panicked if the reader of a pipe stands still.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(tracing::field::display);
    let cause = panic.payload_as_str().unwrap_or("not told");
    tracing::error!(thread, location, cause, "a thread has panicked");
}

/// Writes a message of the program itself to standard error, and waits for that a little
/// while. Standard error may be closed or full, or the reader of a pipe may stand still,
/// and there is no other place to report that to.
pub fn print_error(message: &str) {
    let line = format!("{message}\n");
    let (done, written) = sync_channel(1);
    let print = move || {
        let _ = io::stderr().write_all(line.as_bytes());
        let _ = done.try_send(());
    };
    if thread::Builder::new().name("error".to_owned()).spawn(print).is_ok() {
        let _ = written.recv_timeout(LOG_FLUSH_TIMEOUT);
    }
}

/// The filter that a text describes; the default filter if it is empty.
fn parse(text: &str) -> Result<EnvFilter, LogError> {
    let text = if text.trim().is_empty() { DEFAULT_FILTER } else { text };
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    for word in words {
        // In brackets stand spans, whose fields have commas between them.
        let is_word = !word.contains(['=', '[', ']', '{', '}']);
        if is_word && LevelFilter::from_str(word).is_err() {
            return Err(LogError::NotALevel { word: word.to_owned() });
        }
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|source| LogError::Invalid { text: text.to_owned(), source })
}

/// What the writing thread receives.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Everything before it has been written.
    Flush(SyncSender<()>),
}

/// The sending half of the queue. Cloning is cheap.
#[derive(Debug, Clone)]
struct Queue {
    lines: SyncSender<Entry>,
    counts: Counts,
}

/// What both halves of the queue count.
#[derive(Debug, Clone, Default)]
struct Counts {
    /// Bytes that wait in the queue.
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
}

impl Queue {
    fn new() -> (Self, Receiver<Entry>) {
        let (lines, receiver) = sync_channel(LOG_QUEUE_LINES);
        (Self { lines, counts: Counts::default() }, receiver)
    }

    fn push(&self, line: &[u8]) {
        let Counts { waiting, dropped } = &self.counts;
        let before = waiting.fetch_add(line.len(), Ordering::Relaxed);
        let has_room = before.saturating_add(line.len()) <= LOG_QUEUE_BYTES;
        if !has_room || self.lines.try_send(Entry::Line(line.to_vec())).is_err() {
            waiting.fetch_sub(line.len(), Ordering::Relaxed);
            dropped.inc();
        }
    }
}

impl Write for &Queue {
    /// Takes a whole line, as the subscriber hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Writes lines, and counts those that it cannot write.
struct LineWriter<W> {
    out: W,
    counts: Counts,
    /// Whether the last line was cut off, so that the next one has to begin on
    /// a new line.
    is_cut: bool,
    /// Dropped lines that the log already tells of.
    reported: u64,
}

impl<W: Write> LineWriter<W> {
    fn new(out: W, counts: Counts) -> Self {
        Self { out, counts, is_cut: false, reported: 0 }
    }

    fn handle(&mut self, entry: Entry) {
        match entry {
            Entry::Line(line) => self.write(&line),
            Entry::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        self.counts.waiting.fetch_sub(line.len(), Ordering::Relaxed);
        let begun = if self.is_cut { self.out.write_all(b"\n") } else { Ok(()) };
        let written = begun.and_then(|()| self.out.write_all(line)).and_then(|()| self.out.flush());
        self.is_cut = written.is_err();
        if self.is_cut {
            self.counts.dropped.inc();
            return;
        }
        let dropped = self.counts.dropped.get();
        if dropped > self.reported {
            // The line takes its place at the end of the queue.
            tracing::warn!(lines = dropped - self.reported, "log lines could not be written");
            self.reported = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_with_a_mistake_are_refused() {
        for text in ["", "info", "debug,dfs_net=trace", "INFO", "off", "info,x[get{cid=1}]=debug"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["nonsense", "info,nonsense", "info,dfs_net=debgu", "dfs_net[=x"] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains("info,dfs_net=debug"), "{error}");
        }
    }

    #[test]
    fn a_panic_is_a_line_of_the_log_with_its_cause() {
        let (queue, lines) = Queue::new();
        let subscriber = tracing_subscriber::fmt().json().with_writer(queue).finish();
        panic::set_hook(Box::new(log_panic));
        tracing::subscriber::with_default(subscriber, || {
            let cause = "expected by the test";
            panic::catch_unwind(|| panic!("{cause}")).expect_err("it panics");
        });
        drop(panic::take_hook());
        let Ok(Entry::Line(line)) = lines.try_recv() else { panic!("no line") };
        let line = String::from_utf8_lossy(&line);
        for part in ["a thread has panicked", "expected by the test", "log.rs", "\"thread\""] {
            assert!(line.contains(part), "{line}");
        }
    }

    /// Takes some bytes, is full once, and then has room again.
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                self.room = usize::MAX;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let len = bytes.len().min(self.room);
            self.room -= len;
            self.written.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_cut_off_is_counted_and_the_next_line_is_whole() {
        let (queue, lines) = Queue::new();
        let mut disk = Disk { room: 8, written: Vec::new() };
        let mut writer = LineWriter::new(&mut disk, queue.counts.clone());
        for line in ["first\n", "second\n", "third\n"] {
            queue.push(line.as_bytes());
            writer.handle(lines.try_recv().expect("a line"));
        }
        assert_eq!(String::from_utf8_lossy(&disk.written), "first\nse\nthird\n");
        assert_eq!(queue.counts.dropped.get(), 1);
        assert_eq!(queue.counts.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_queue_drops_lines_and_never_waits() {
        let (queue, lines) = Queue::new();
        let line = [b'x'; 1000];
        let fitting = LOG_QUEUE_LINES.min(LOG_QUEUE_BYTES / line.len());
        for _ in 0..fitting + 3 {
            queue.push(&line);
        }
        assert_eq!(queue.counts.dropped.get(), 3);
        assert_eq!(lines.try_iter().count(), fitting);
    }
}
