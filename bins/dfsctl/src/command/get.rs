//! `dfsctl get`: starts the download in the daemon, or joins it, and shows it
//! to its end.
//!
//! On the daemon's own machine the daemon writes the file; from a daemon
//! elsewhere, and to standard output, the bytes are sent and written here.

use std::fs::Permissions;
use std::future::Future;
use std::io::{self, Write, stdout};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;

use dfs_control::proto::{DownloadState, DownloadStatus, GetRequest, ReadRequest};
use dfs_control::{Client, Failure as Kind};
use dfs_core::Cid;
use tokio::signal::unix::{SignalKind, signal};
use tonic::Streaming;

use super::parts::{self, Unsent};
use crate::args::Get;
use crate::directories::MadeDirectories;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::render;
use crate::target::Target;

pub(super) async fn run(target: &Target, args: Get) -> Result<(), Failure> {
    let to_stdout = args.output == Path::new("-");
    let here = target.endpoint.is_local() && !to_stdout;
    if args.detach && !here {
        let message = "--detach needs a file that the daemon itself can write";
        return Err(Failure::new(Kind::Usage, message));
    }
    if args.link && !here {
        let message = "--link needs a file that the daemon itself can write";
        return Err(Failure::new(Kind::Usage, message));
    }
    let path = if here {
        let path = std::path::absolute(&args.output)
            .map_err(|error| Failure::file("write", &args.output, &error))?;
        // `absolute` drops the slash that says "a directory".
        let mut bytes = path.as_os_str().as_bytes().to_vec();
        if args.output.as_os_str().as_bytes().ends_with(b"/") && !bytes.ends_with(b"/") {
            bytes.push(b'/');
        }
        bytes
    } else {
        if !to_stdout {
            refuse_existing(&args.output, args.force)?;
        }
        Vec::new()
    };
    let request = GetRequest {
        cid: args.cid.to_string(),
        path,
        force: args.force,
        timeout_s: args.timeout,
        link: args.link,
    };
    // From now on Ctrl+C ends the command in an orderly way.
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| Failure::system("catch Ctrl+C", &error))?;
    let call = async {
        let mut client = target.connect().await?;
        let stream = client.get(request).await?.into_inner();
        Ok::<_, Failure>((client, stream))
    };
    let (mut client, stream) = tokio::select! {
        called = call => called?,
        _ = interrupt.recv() => return Err(interrupted(args.cid, here)),
    };
    if args.detach {
        return Ok(());
    }
    let got = async {
        if here {
            return follow(stream).await;
        }
        // The bytes are sent while they arrive. The download knows best why they end.
        let (followed, sent) = if to_stdout {
            let mut out = stdout().lock();
            until_local(follow(stream), copy(&mut client, args.cid, &mut out, Failure::stdout))
                .await
        } else {
            until_local(follow(stream), write_file(&mut client, &args)).await
        };
        followed.and(sent)
    };
    tokio::select! {
        got = got => got,
        _ = interrupt.recv() => Err(interrupted(args.cid, here)),
    }
}

/// The end of a command that Ctrl+C has ended.
fn interrupted(cid: Cid, here: bool) -> Failure {
    let message = if here {
        format!(
            "no longer watching; the daemon goes on with {cid} (see download-status, cancel-download)"
        )
    } else {
        "interrupted; the daemon goes on and keeps what it gets (see cancel-download)".to_owned()
    };
    Failure::interrupted(message)
}

/// Waits for both, unless the bytes cannot be written here: then nothing is left to wait
/// for.
async fn until_local(
    followed: impl Future<Output = Result<(), Failure>>,
    sent: impl Future<Output = Result<(), Unsent>>,
) -> (Result<(), Failure>, Result<(), Failure>) {
    let (mut followed, mut sent) = (pin!(followed), pin!(sent));
    tokio::select! {
        sent = &mut sent => match sent {
            Err(Unsent::Here(failure)) => (Ok(()), Err(failure)),
            Err(Unsent::There(failure)) => (followed.await, Err(failure)),
            Ok(()) => (followed.await, Ok(())),
        },
        done = &mut followed => match done {
            Ok(()) => (Ok(()), sent.await.map_err(Unsent::into_failure)),
            Err(failure) => (Err(failure), Ok(())),
        },
    }
}

fn refuse_existing(path: &Path, force: bool) -> Result<(), Failure> {
    if path.is_dir() {
        let message = format!("{} is a directory; name a file in it", path.display());
        return Err(Failure::new(Kind::Usage, message));
    }
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    if !force {
        let message = format!("{} exists already; use --force to replace it", path.display());
        return Err(Failure::new(Kind::Exists, message));
    }
    if !path.is_file() {
        let message = format!("{} is no file, and is not replaced; name another", path.display());
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(())
}

/// Shows a download until it is over.
async fn follow(mut stream: Streaming<DownloadStatus>) -> Result<(), Failure> {
    let progress = Progress::new("getting", None);
    loop {
        let status = match stream.message().await {
            Ok(Some(status)) => status,
            Ok(None) => {
                progress.clear();
                let message = "the daemon stopped; the download goes on when it runs again";
                return Err(Failure::new(Kind::Unreachable, message));
            }
            Err(status) => {
                progress.clear();
                return Err(status.into());
            }
        };
        match status.state() {
            DownloadState::Done => {
                progress.finish("got", status.size.unwrap_or(0));
                return Ok(());
            }
            _ if status.failure_code != 0 => {
                progress.clear();
                let kind = Kind::from_exit_code(status.failure_code);
                let reason = if status.reason.is_empty() {
                    "the download was cancelled".to_owned()
                } else {
                    render::escape(&status.reason)
                };
                return Err(Failure::new(kind, reason));
            }
            state => progress.show(status.bytes_done, status.size, describe(state, &status)),
        }
    }
}

/// What is going on, in a few words.
fn describe(state: DownloadState, status: &DownloadStatus) -> String {
    match state {
        DownloadState::Discovering => "looking for providers".to_owned(),
        DownloadState::FetchingManifest => "asking for the manifest".to_owned(),
        DownloadState::Downloading => match status.providers {
            1 => "from 1 provider".to_owned(),
            n => format!("from {n} providers"),
        },
        DownloadState::Assembling => "writing".to_owned(),
        DownloadState::Waiting => {
            let next =
                status.next_try_ms.map(|ms| format!("; next try in {} s", ms.div_ceil(1000)));
            format!("waiting: {}{}", render::escape(&status.reason), next.unwrap_or_default())
        }
        DownloadState::Unspecified
        | DownloadState::Done
        | DownloadState::Failed
        | DownloadState::Cancelled => String::new(),
    }
}

/// Writes the content beside its destination and renames it into place.
async fn write_file(client: &mut Client, args: &Get) -> Result<(), Unsent> {
    let failed = |error: &io::Error| Failure::file("write", &args.output, error);
    let here = |error: io::Error| Unsent::Here(failed(&error));
    // A link to a file stays, and that file is replaced, as `cp` does it.
    let output = match args.output.canonicalize() {
        Ok(place) if args.output.is_symlink() => place,
        _ => args.output.clone(),
    };
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directories = MadeDirectories::make(directory).map_err(here)?;
    // Two commands may write to one destination, so each has a temporary name of
    // its own.
    let mut temporary = tempfile::Builder::new()
        .prefix(".dfs-")
        .suffix(".dfs-part")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(here)?;
    copy(client, args.cid, temporary.as_file_mut(), failed).await?;
    temporary.as_file().sync_all().map_err(here)?;
    let persisted = if args.force {
        if let Ok(replaced) = output.metadata() {
            temporary.as_file().set_permissions(replaced.permissions()).map_err(here)?;
        }
        temporary.persist(&output)
    } else {
        temporary.persist_noclobber(&output)
    };
    persisted.map_err(|error| here(error.error))?;
    directories.keep();
    Ok(())
}

/// Copies content that the daemon holds or is getting.
async fn copy(
    client: &mut Client,
    cid: Cid,
    out: &mut impl Write,
    failed: impl Fn(&io::Error) -> Failure,
) -> Result<(), Unsent> {
    let request = ReadRequest { cid: cid.to_string(), follow: true };
    let parts = client.read(request).await.map_err(Unsent::there)?.into_inner();
    parts::copy(parts, out, failed).await
}
