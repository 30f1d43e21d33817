//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use dfs_control::Endpoint;
use dfs_control::tls::Fingerprint;
use dfs_core::{Cid, Profile};

/// Adds, provides and gets content-addressed files through a running dfsd.
#[derive(Debug, Parser)]
#[command(
    name = "dfsctl",
    version,
    after_help = "Exit codes: 0 done, 1 other failure, 2 usage, 3 not found, 4 no provider, 5 cancelled, \
                  6 daemon unreachable, 7 permission, 8 verification failed, 9 no space, 10 exists already, \
                  130 interrupted"
)]
pub(crate) struct Args {
    /// Control address of the daemon: http://127.0.0.1:PORT, https://HOST:PORT or unix:PATH
    #[arg(
        long,
        global = true,
        help_heading = "Daemon",
        value_name = "URL",
        default_value = "http://127.0.0.1:50051",
        env = "DFS_GRPC_ADDR"
    )]
    pub(crate) grpc_addr: Endpoint,
    /// File with the control token; by default where the daemon leaves it
    #[arg(long, global = true, help_heading = "Daemon", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate of a daemon on another machine, as it logs it at its start; remembered, so
    /// needed once
    #[arg(long, global = true, help_heading = "Daemon", value_name = "HEX")]
    pub(crate) tls_fingerprint: Option<Fingerprint>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a file and print its CID
    Add(Add),
    /// Provide content in the DHT, so that others find it here
    Provide {
        /// Content that is held here
        cid: Cid,
        /// Ask the closest nodes how many of them have it on record
        #[arg(long)]
        verify: bool,
    },
    /// Stop announcing content
    Unprovide {
        /// Content that is provided
        cid: Cid,
    },
    /// List what this node provides in the DHT
    Providing(Format),
    /// Get content into a file
    Get(Get),
    /// Print content, or a part of it, and fetch only that part
    Cat(Cat),
    /// Show how far a download is
    DownloadStatus(Named),
    /// List all downloads, running and ended
    Downloads(Format),
    /// End a running download; what it has got is kept
    CancelDownload {
        /// Content being downloaded
        cid: Cid,
    },
    /// Show everything known of one content
    Inspect {
        /// The content
        cid: Cid,
        /// Also list its chunks
        #[arg(long)]
        chunks: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Forget content and free what nothing else needs
    Rm {
        /// The content
        cid: Cid,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// List what other nodes have announced
    Announcements {
        /// Go on with what is announced from now on
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        format: Format,
    },
    /// List the content held here
    List(Format),
    /// Show the daemon at a glance
    Status {
        /// Show its background workers instead
        #[arg(long)]
        workers: bool,
        #[command(flatten)]
        format: Format,
    },
    /// List the nodes known
    Peers(Format),
}

/// Arguments of `add`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Add {
    /// File to add; - for standard input
    pub(crate) file: PathBuf,
    /// Also announce it to all nodes
    #[arg(long)]
    pub(crate) public: bool,
    /// Serve it from this file instead of storing a copy; if the file is edited, what was
    /// edited can no longer be served
    #[arg(long)]
    pub(crate) link: bool,
    /// Print the CID without a daemon and without storing anything
    #[arg(long, conflicts_with_all = ["public", "link"])]
    pub(crate) only_hash: bool,
    /// How to cut it into chunks: fastcdc (64 KiB on average, an edited file
    /// keeps most of them), fastcdc-1m (1 MiB on average), or fixed (64 KiB)
    #[arg(long, value_name = "CHUNKER", default_value = "fastcdc")]
    pub(crate) chunker: Profile,
}

/// Arguments of `get`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// Content to get
    pub(crate) cid: Cid,
    /// File to write; - for standard output
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep the file as the only copy and serve it from there; if it is edited, what was
    /// edited can no longer be served
    #[arg(long)]
    pub(crate) link: bool,
    /// Give up after this many seconds without a useful answer from a peer; when this joins a
    /// running download, the longer time counts
    #[arg(long, value_name = "SECONDS", default_value_t = 600, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// Start the download and return at once
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Arguments of `cat`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Cat {
    /// Content to read
    pub(crate) cid: Cid,
    /// Bytes to leave out at the beginning; suffixes as for --length
    #[arg(long, value_name = "BYTES", default_value = "0", allow_negative_numbers = true, value_parser = bytes)]
    pub(crate) offset: u64,
    /// Most bytes to write, such as 70000, 64K or 1.5M (powers of 1024); by default all to the
    /// end
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    pub(crate) length: Option<u64>,
    /// Give up after this many seconds without a useful answer from a peer
    #[arg(long, value_name = "SECONDS", default_value_t = 600, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
}

/// A number of bytes. Suffixes are powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let bytes = parse_size::Config::new().with_binary().parse_size(text);
    bytes.map_err(|error| format!("{error}; write a number of bytes, such as 70000 or 64K"))
}

/// Arguments of commands that read about one content.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Named {
    /// The content
    pub(crate) cid: Cid,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Arguments of commands that only read.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
