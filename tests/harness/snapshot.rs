//! What users see, kept in files: a change of a word is a change of a file in
//! `snapshots/`.
//!
//! `DFS_UPDATE_SNAPSHOTS=1` writes the files anew.

use std::fs;
use std::path::Path;

/// Compares a text with the file of this name.
pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(format!("{name}.txt"));
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("DFS_UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).expect("write a snapshot");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{} is out of date; look at the difference and, if it is meant, run the tests with \
         DFS_UPDATE_SNAPSHOTS=1\n--- now\n{text}",
        path.display()
    );
}
