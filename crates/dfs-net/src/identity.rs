//! The key file, which makes a node the same node after a restart.
//!
//! The file holds the private key in libp2p's own protobuf encoding, as other
//! libp2p programs keep it. Only its owner may have access.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libp2p::identity::{DecodingError, Keypair};

/// Largest key file in bytes, more than any private key takes.
const MAX_KEY_FILE: u64 = 16 << 10;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Other users than the owner have access to the file.
    #[error("the key file {} can be read by others (mode {mode:03o})", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a private key.
    #[error("the key file {} does not hold a private key", path.display())]
    Invalid {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The path is a symbolic link to a file that does not exist.
    #[error("the key file {} is a link to {}, which does not exist", path.display(), target.display())]
    DanglingLink {
        /// The key file.
        path: PathBuf,
        /// What the link points to.
        target: PathBuf,
    },
    /// The file cannot be read or created.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
}

/// Why a key file does not hold a private key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The path is a directory, a device or the like.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file has no bytes.
    #[error("it is empty")]
    Empty,
    /// The file is larger than any key.
    #[error("it has {len} bytes, more than any key")]
    TooLarge {
        /// Its length in bytes.
        len: u64,
    },
    /// The bytes are not a private key.
    #[error("its bytes are not an encoded key")]
    Encoding(#[source] DecodingError),
}

/// Reads the key file, or makes a new key and the file if there is none.
///
/// # Errors
/// [`IdentityError`] if the file is exposed, not a key, or not accessible.
pub fn load_or_create(path: &Path) -> Result<Keypair, IdentityError> {
    let io = |source| IdentityError::Io { path: path.to_owned(), source };
    let invalid = |source| IdentityError::Invalid { path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Ok(target) = fs::read_link(path) {
                return Err(IdentityError::DanglingLink { path: path.to_owned(), target });
            }
            return create(path).map_err(io);
        }
        Err(error) => return Err(io(error)),
    };
    if !metadata.is_file() {
        return Err(invalid(KeyError::NotAFile));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_KEY_FILE {
        return Err(invalid(KeyError::TooLarge { len: metadata.len() }));
    }
    decode(&fs::read(path).map_err(io)?).map_err(invalid)
}

/// Reads a private key from the contents of a key file.
///
/// # Errors
/// [`KeyError`] if the bytes are not a private key.
pub fn decode(bytes: &[u8]) -> Result<Keypair, KeyError> {
    if bytes.is_empty() {
        return Err(KeyError::Empty);
    }
    Keypair::from_protobuf_encoding(bytes).map_err(KeyError::Encoding)
}

/// Writes a new key. The file appears complete or not at all.
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
    // Unlike a rename, a link never replaces a key that another process has
    // written meanwhile.
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
    fn an_exposed_or_damaged_key_file_is_refused_and_not_changed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("key");
        load_or_create(&path).expect("create");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = load_or_create(&path).expect_err("exposed");
        assert!(matches!(error, IdentityError::Exposed { mode: 0o640, .. }));

        fs::write(&path, b"not a key").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        let error = load_or_create(&path).expect_err("damaged");
        assert!(matches!(error, IdentityError::Invalid { .. }));
        assert_eq!(fs::read(&path).expect("read"), b"not a key");
    }

    #[test]
    fn a_dangling_link_is_named_with_its_target() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("key");
        std::os::unix::fs::symlink("elsewhere", &path).expect("link");
        let error = load_or_create(&path).expect_err("no key");
        assert!(error.to_string().ends_with("is a link to elsewhere, which does not exist"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_key_with_a_flipped_bit_is_refused_or_another_key(at: prop::sample::Index, bit in 0_u32..8) {
            let keypair = Keypair::generate_ed25519();
            let mut bytes = keypair.to_protobuf_encoding().expect("a new key");
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = decode(&bytes) {
                prop_assert!(other.to_protobuf_encoding().is_ok());
            }
        }
    }
}
