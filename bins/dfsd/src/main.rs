//! The DFS daemon: arguments in, exit code out. Everything else is in
//! `dfs-daemon`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use dfs_daemon::{
    ControlAddress, DaemonConfig, DaemonError, DhtMode, Ending, Multiaddr, NodeConfig,
};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged if nothing is said. The DHT warns whenever it is alone.
const DEFAULT_LOG: &str = "info,libp2p_kad=error";
/// Time to close the database after an orderly end.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// Keeps, serves and gets content-addressed files, peer to peer.
#[derive(Parser)]
#[command(name = "dfsd", version)]
struct Args {
    /// Address to listen on for other nodes; may be repeated
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/0.0.0.0/tcp/4001", value_parser = tcp_address)]
    listen_p2p: Vec<Multiaddr>,
    /// Address of the control plane, for dfsctl; or unix:PATH
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    grpc_addr: ControlAddress,
    /// File to leave the control token in; by default where dfsctl looks for it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Allow addresses other than loopback for control, protected with TLS, and for metrics
    #[arg(long)]
    allow_remote_control: bool,
    /// Serve metrics and health over HTTP there, as 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    metrics_addr: Option<SocketAddr>,
    /// Directory of the database; created if absent
    #[arg(long, value_name = "DIR", default_value = "./data/rocksdb")]
    db_path: PathBuf,
    /// Private key that makes this node the same one after a restart; created if absent
    #[arg(long, value_name = "FILE", default_value = "./data/node_key.ed25519")]
    key_file: PathBuf,
    /// A node to know from the start, as /ip4/…/tcp/…/p2p/…; may be repeated
    #[arg(long, value_name = "MULTIADDR", value_parser = tcp_address)]
    bootstrap: Vec<Multiaddr>,
    /// Do not look for nodes in the local network
    #[arg(long)]
    no_mdns: bool,
    /// Part to take in the DHT
    #[arg(long, value_name = "MODE", default_value = "server")]
    dht_mode: Mode,
    /// Write addresses and process id there as JSON once everything is up
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// An address that TCP can reach; there is no other transport.
fn tcp_address(text: &str) -> Result<Multiaddr, String> {
    let addr: Multiaddr = text.parse().map_err(|error| format!("{error}"))?;
    // As text, because the protocols of an address are libp2p's own affair.
    if addr.to_string().split('/').any(|part| part == "tcp") {
        return Ok(addr);
    }
    Err("write it as /ip4/ADDRESS/tcp/PORT; there is no transport but TCP".to_owned())
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Ask others and answer them
    Server,
    /// Only ask others
    Client,
}

fn main() {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("DFS_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("dfsd: cannot start threads: {error}");
            std::process::exit(1);
        }
    };
    let (code, patience) = match runtime.block_on(run(args)) {
        Ok(Ending::Orderly) => (0, CLOSE_TIME),
        Ok(Ending::Cut) => (0, Duration::ZERO),
        Err(error) => {
            eprintln!("dfsd: {}", dfs_daemon::report(&error));
            (1, CLOSE_TIME)
        }
    };
    // A blocking thread cannot be called back, and may have hours to go.
    runtime.shutdown_timeout(patience);
    // And an ordinary end would wait for the threads of RocksDB, which finish what
    // they are at, or pull the ground from under those that still call it.
    signal_hook::low_level::exit(code)
}

async fn run(args: Args) -> Result<Ending, DaemonError> {
    // Before anything is created: a refusal leaves nothing behind.
    args.grpc_addr.check(args.allow_remote_control)?;
    let certificate_file = beside(&args.key_file, ".control.pem");
    let keypair = dfs_daemon::load_identity(&args.key_file)?;
    let mut node = NodeConfig::new(keypair, args.db_path);
    node.net.listen = args.listen_p2p;
    node.net.bootstrap = args.bootstrap;
    node.net.mdns = !args.no_mdns;
    node.net.dht_mode = match args.dht_mode {
        Mode::Server => DhtMode::Server,
        Mode::Client => DhtMode::Client,
    };
    dfs_daemon::run(DaemonConfig {
        node,
        grpc_addr: args.grpc_addr,
        token_file: args.token_file,
        allow_remote_control: args.allow_remote_control,
        certificate_file,
        ready_file: args.ready_file,
        metrics_addr: args.metrics_addr,
    })
    .await
}

/// The file with this added to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
