//! `dfsctl add`: the CID on standard output, everything else on standard
//! error.
//!
//! On the daemon's own machine the daemon opens the file; to a daemon
//! elsewhere, and from standard input, the bytes are sent.

use std::fs::File;
use std::io::{self, Read, stdin};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dfs_control::proto::{AddPart, AddProgress, AddRequest, AddStart, Chunker, add_part};
use dfs_control::{Client, Failure as Kind, MAX_PART};
use dfs_core::{Profile, describe};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::args::Add;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::render;
use crate::target::Target;

pub(super) async fn run(target: &Target, args: Add) -> Result<(), Failure> {
    let cid = if args.only_hash { only_hash(&args)? } else { add(target, &args).await? };
    render::line(cid)
}

/// The bytes to add.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(stdin()), None));
    }
    let failed = |error| Failure::file("read", path, &error);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a directory" } else { "no regular file" };
        let message = format!("{} is {what}, and only regular files can be added", path.display());
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok((Box::new(File::open(path).map_err(failed)?), Some(metadata.len())))
}

fn only_hash(args: &Add) -> Result<String, Failure> {
    let (reader, size) = open(&args.file)?;
    let progress = Progress::new("hashing", size);
    let mut bytes = 0;
    let manifest = describe(reader, args.chunker, |chunk| {
        bytes += u64::from(chunk.leaf.len);
        progress.show(bytes, size, String::new());
        Ok(())
    });
    let manifest = manifest.map_err(|error| Failure::file("read", &args.file, &error))?;
    progress.finish("hashed", bytes);
    Ok(manifest.cid().to_string())
}

async fn add(target: &Target, args: &Add) -> Result<String, Failure> {
    let here = target.endpoint.is_local() && args.file != Path::new("-");
    if args.link && !here {
        let message = "--link needs a file on the machine of the daemon";
        return Err(Failure::new(Kind::Usage, message));
    }
    let client = target.connect().await?;
    let progress = if here { by_path(client, args).await? } else { by_bytes(client, args).await? };
    follow(progress).await
}

async fn by_path(mut client: Client, args: &Add) -> Result<Streaming<AddProgress>, Failure> {
    let path = std::path::absolute(&args.file)
        .map_err(|error| Failure::file("read", &args.file, &error))?;
    let request = AddRequest {
        path: path.as_os_str().as_bytes().to_vec(),
        chunker: chunker(args.chunker).into(),
        public: args.public,
        link: args.link,
    };
    Ok(client.add(request).await?.into_inner())
}

async fn by_bytes(mut client: Client, args: &Add) -> Result<Streaming<AddProgress>, Failure> {
    let (mut reader, size) = open(&args.file)?;
    let name = match args.file.file_name() {
        Some(name) if size.is_some() => name.to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let start = AddStart {
        name,
        chunker: chunker(args.chunker).into(),
        public: args.public,
        size: size.unwrap_or(0),
    };
    let (parts, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let send = |part| parts.blocking_send(AddPart { part: Some(part) });
        // A send fails when the daemon has ended the call, and the reply to the
        // call says why.
        if let Err(Unsent::Read(error)) = send_all(&mut reader, start, send) {
            let failure = Failure::system("read on", &error);
            render::error(&failure.message);
            std::process::exit(failure.exit_code.into());
        }
    });
    Ok(client.add_stream(ReceiverStream::new(receiver)).await?.into_inner())
}

/// Why not everything was sent.
enum Unsent {
    Read(io::Error),
    Call,
}

/// Sends the start, the bytes, and their number. Without the number the daemon
/// takes the stream for one that was cut short.
fn send_all<E>(
    reader: &mut impl Read,
    start: AddStart,
    send: impl Fn(add_part::Part) -> Result<(), E>,
) -> Result<(), Unsent> {
    let send = |part| send(part).map_err(|_| Unsent::Call);
    send(add_part::Part::Start(start))?;
    let mut buffer = vec![0; MAX_PART];
    let mut sent = 0;
    loop {
        match reader.read(&mut buffer).map_err(Unsent::Read)? {
            0 => return send(add_part::Part::End(sent)),
            n => {
                sent += n as u64;
                send(add_part::Part::Data(buffer[..n].to_vec()))?;
            }
        }
    }
}

async fn follow(mut stream: Streaming<AddProgress>) -> Result<String, Failure> {
    let progress = Progress::new("adding", None);
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            _ = tokio::signal::ctrl_c() => {
                progress.clear();
                return Err(Failure::interrupted("interrupted; nothing was added"));
            }
        };
        match message {
            Ok(Some(AddProgress { done: Some(done), .. })) => {
                progress.finish("added", done.size);
                return Ok(done.cid);
            }
            Ok(Some(state)) => {
                let size = (state.size > 0).then_some(state.size);
                progress.show(state.bytes, size, String::new());
            }
            Ok(None) => {
                progress.clear();
                let message = "the daemon ended without an answer; look at its log";
                return Err(Failure::new(Kind::Unreachable, message));
            }
            Err(status) => {
                progress.clear();
                return Err(status.into());
            }
        }
    }
}

fn chunker(profile: Profile) -> Chunker {
    match profile {
        Profile::FastCdc => Chunker::Fastcdc,
        Profile::FastCdc1M => Chunker::Fastcdc1m,
        Profile::Fixed => Chunker::Fixed,
    }
}
