//! The Unix socket of the control plane: created privately, removed at the
//! stop unless a later daemon has replaced it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dfs_control::{MAX_SOCKET_PATH, RunFile};
use tokio::net::{UnixListener, UnixStream};

/// Why the socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path is longer than the system allows.
    #[error(
        "the socket path {} has {} bytes, and a socket path has at most {MAX_SOCKET_PATH}",
        path.display(), path.as_os_str().len()
    )]
    LongPath {
        /// The path.
        path: PathBuf,
    },
    /// Another file has the name.
    #[error("the file {} is not a socket, so it is not replaced", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another daemon listens there.
    #[error("another daemon listens on {}", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot listen on {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// Listens on a Unix socket, and replaces one that a killed daemon has left.
pub(super) async fn listen(path: &Path) -> Result<(UnixListener, RunFile), SocketError> {
    let io = |source| SocketError::Io { path: path.to_owned(), source };
    // The socket gets its final name only once its permissions are set, so
    // that no other user can open it in between.
    let private = path.with_file_name(format!(".{}", std::process::id()));
    for path in [path, &private] {
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(SocketError::LongPath { path: path.to_owned() });
        }
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match UnixStream::connect(path).await {
            // Only a socket that no process holds refuses a connection.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(io(error));
            }
            Ok(_) | Err(_) => return Err(SocketError::InUse { path: path.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    // A process with this number may have left it in a crash.
    let _ = std::fs::remove_file(&private);
    let listener = UnixListener::bind(&private).map_err(io)?;
    let placed = std::fs::set_permissions(&private, Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&private, path))
        .and_then(|()| RunFile::adopt(path.to_owned()));
    match placed {
        Ok(file) => Ok((listener, file)),
        Err(error) => {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&private);
            Err(io(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_replaced_only_if_no_daemon_holds_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.sock");
        let (listener, file) = listen(&path).await.expect("a new socket");
        assert!(matches!(listen(&path).await, Err(SocketError::InUse { .. })));
        // The first daemon has been killed, but its handle lives on here.
        drop(listener);
        let (_listener, later) = listen(&path).await.expect("replaced");
        drop(file);
        assert!(path.exists(), "the socket of the later daemon stays");
        drop(later);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 0);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_refused_with_the_limit() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(MAX_SOCKET_PATH)));
        let error = listen(&path).await.map(drop).expect_err("too long");
        assert!(error.to_string().contains("at most 107"), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notes");
        std::fs::write(&path, "text").expect("write");
        assert!(matches!(listen(&path).await, Err(SocketError::NotASocket { .. })));
        assert_eq!(std::fs::read(&path).expect("read"), b"text");
    }
}
