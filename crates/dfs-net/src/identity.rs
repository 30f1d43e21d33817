//! The key that makes a node the same node after a restart.
//!
//! The file holds the private key in libp2p's own protobuf encoding, as other
//! libp2p programs keep it. Only its owner may be able to read it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::Keypair;

/// More than any private key takes, in bytes; a larger file is none.
const MAX_KEY_FILE: u64 = 16 << 10;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Others than the owner can read the file.
    #[error(
        "the key file {} can be read by others (mode {mode:03o}); if nobody has copied it, run: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a private key.
    #[error("the key file {} does not hold a private key: {detail}", path.display())]
    Invalid {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file cannot be read or created.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// Reads the key file, or makes a new key and the file if there is none.
///
/// # Errors
/// [`IdentityError`] if the file is exposed, not a key, or not accessible.
pub fn load_or_create(path: &Path) -> Result<Keypair, IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(metadata) => {
            if !metadata.is_file() {
                let detail = "it is no file".to_owned();
                return Err(IdentityError::Invalid { path: path.to_owned(), detail });
            }
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(IdentityError::Exposed { path: path.to_owned(), mode });
            }
            if metadata.len() > MAX_KEY_FILE {
                let detail = format!("it has {} bytes", metadata.len());
                return Err(IdentityError::Invalid { path: path.to_owned(), detail });
            }
            let bytes = fs::read(path).map_err(io)?;
            decode(&bytes)
                .map_err(|detail| IdentityError::Invalid { path: path.to_owned(), detail })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).map_err(io),
        Err(error) => Err(io(error)),
    }
}

/// Reads a private key from the contents of a key file.
///
/// # Errors
/// A sentence about what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<Keypair, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    Keypair::from_protobuf_encoding(bytes).map_err(|error| error.to_string())
}

/// Writes a new key so that the file appears complete or not at all.
fn create(path: &Path) -> io::Result<Keypair> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let keypair = Keypair::generate_ed25519();
    let bytes = keypair.to_protobuf_encoding().map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    // Unlike a rename, a link never replaces a key that appeared meanwhile.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked?;
    fs::File::open(directory)?.sync_all()?;
    Ok(keypair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_identity_is_stable_and_private() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("deep/key");
        let first = load_or_create(&path).expect("create");
        let second = load_or_create(&path).expect("read");
        assert_eq!(first.public(), second.public());
        let mode = fs::metadata(&path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(fs::read_dir(directory.path().join("deep")).expect("list").count(), 1);
    }

    #[test]
    fn an_exposed_or_damaged_key_is_refused_and_kept() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("key");
        load_or_create(&path).expect("create");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = load_or_create(&path).expect_err("exposed");
        assert!(matches!(error, IdentityError::Exposed { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 600"));

        fs::write(&path, b"not a key").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        let error = load_or_create(&path).expect_err("damaged");
        assert!(matches!(error, IdentityError::Invalid { .. }));
        assert_eq!(fs::read(&path).expect("read"), b"not a key");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_changed_key_is_refused_or_is_a_key(at: prop::sample::Index, bit in 0_u32..8) {
            let keypair = Keypair::generate_ed25519();
            let mut bytes = keypair.to_protobuf_encoding().expect("a key of ours");
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = decode(&bytes) {
                prop_assert!(other.to_protobuf_encoding().is_ok());
            }
        }
    }
}
