//! The log of a test, to be read by the test.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;

/// Everything at debug level and above that this thread logs while the value
/// lives.
pub(crate) struct CapturedLog {
    bytes: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl CapturedLog {
    pub(crate) fn start() -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&bytes);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || Writer(Arc::clone(&writer)))
            .finish();
        Self { bytes, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines of this crate at a level, such as "WARN".
    pub(crate) fn lines(&self, level: &str) -> Vec<String> {
        let bytes = self.bytes.lock().expect("no panic while writing");
        let text = String::from_utf8_lossy(&bytes);
        let is_wanted =
            |line: &&str| line.trim_start().starts_with(level) && line.contains("dfs_net");
        text.lines().filter(is_wanted).map(str::to_owned).collect()
    }
}
