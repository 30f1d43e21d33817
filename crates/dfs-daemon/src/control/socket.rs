//! The Unix socket of the control plane: created privately, named when the daemon
//! serves, removed at the stop unless a later daemon has replaced it.

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

/// A socket that listens, and has its name once it is placed.
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    private: PrivateName,
    /// The name that clients use.
    placed: Option<RunFile>,
}

/// The name of a socket before it is placed. Dropping it removes the socket.
struct PrivateName(PathBuf);

impl Drop for PrivateName {
    fn drop(&mut self) {
        // A socket that is placed has another name.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Gives the socket its name, in the place of one that a killed daemon has left.
    pub(super) fn place(&mut self) -> Result<(), SocketError> {
        let placed = std::fs::rename(&self.private.0, &self.path)
            .and_then(|()| RunFile::adopt(self.path.clone()));
        let io = |source| SocketError::Io { path: self.path.clone(), source };
        self.placed = Some(placed.map_err(io)?);
        Ok(())
    }

    /// The name that clients use.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, and what removes the socket when it is dropped.
    pub(super) fn into_parts(self) -> (UnixListener, Option<RunFile>) {
        (self.listener, self.placed)
    }
}

/// Listens on a Unix socket without the name that clients use.
pub(super) async fn listen(path: &Path) -> Result<Socket, SocketError> {
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
    let private = PrivateName(private);
    std::fs::set_permissions(&private.0, Permissions::from_mode(0o600)).map_err(io)?;
    Ok(Socket { listener, path: path.to_owned(), private, placed: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_replaced_only_if_no_daemon_holds_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.sock");
        let mut socket = listen(&path).await.expect("a new socket");
        assert!(!path.exists(), "it has no name before it is placed");
        socket.place().expect("placed");
        assert!(matches!(listen(&path).await, Err(SocketError::InUse { .. })));
        let (listener, file) = socket.into_parts();
        // The first daemon has been killed, but its handle lives on here.
        drop(listener);
        let mut later = listen(&path).await.expect("it is not held");
        later.place().expect("replaced");
        drop(file);
        assert!(path.exists(), "the socket of the later daemon stays");
        drop(later);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 0);
        drop(listen(&path).await.expect("a socket that is never placed"));
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
