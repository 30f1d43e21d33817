//! The command line of `dfsd`, as clap reads it, and the settings it stands for.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use dfs_daemon::{
    ControlAddress, DaemonConfig, DaemonError, DhtMode, LogFormat, Multiaddr, NodeConfig,
    RocksOptions, StoreConfig,
};

/// Keeps, serves and gets content-addressed files, peer to peer.
#[derive(Parser)]
#[command(name = "dfsd", version)]
pub(crate) struct Args {
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
    /// Open a database whose write-ahead log is damaged, without what was written behind the
    /// damage
    #[arg(long)]
    drop_damaged_log: bool,
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
    /// Downloads that fetch at the same time; the rest wait for their turn, in order
    #[arg(long, value_name = "N", default_value_t = NodeConfig::MAX_DOWNLOADS)]
    max_downloads: NonZeroUsize,
    /// Memory for content on its way: database, downloads and serving together
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = memory_budget)]
    memory_budget: u64,
    /// Write addresses and process id there as JSON once everything is up
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// How to write the log on standard error; the variable DFS_LOG filters it, as
    /// info,dfs_net=debug
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Ask others and answer them
    Server,
    /// Only ask others
    Client,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Args {
    pub(crate) fn log_format(&self) -> LogFormat {
        match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        }
    }

    /// The settings of the daemon. Reads the key file, or creates it.
    pub(crate) fn into_config(self) -> Result<DaemonConfig, DaemonError> {
        // Before anything is created: a refusal leaves no files behind.
        let allow_remote = self.allow_remote_control;
        dfs_daemon::check_addresses(&self.grpc_addr, self.metrics_addr, allow_remote)?;
        let certificate_file = beside(&self.key_file, ".control.pem");
        let keypair = dfs_daemon::load_identity(&self.key_file)?;
        let mut options = RocksOptions::default();
        options.drop_damaged_log = self.drop_damaged_log;
        let mut node = NodeConfig::new(keypair, self.db_path.clone());
        node.store = StoreConfig::Rocks { path: self.db_path, options };
        node.set_memory_budget(self.memory_budget);
        node.max_downloads = self.max_downloads;
        node.net.listen = self.listen_p2p;
        node.net.bootstrap = self.bootstrap;
        node.net.mdns = !self.no_mdns;
        node.net.dht_mode = match self.dht_mode {
            Mode::Server => DhtMode::Server,
            Mode::Client => DhtMode::Client,
        };
        Ok(DaemonConfig {
            node,
            grpc_addr: self.grpc_addr,
            token_file: self.token_file,
            allow_remote_control: self.allow_remote_control,
            certificate_file,
            ready_file: self.ready_file,
            metrics_addr: self.metrics_addr,
        })
    }
}

/// An address that TCP can reach; there is no other transport.
fn tcp_address(text: &str) -> Result<Multiaddr, String> {
    if let Some(form) = as_multiaddr(text) {
        return Err(format!("write it as {form}"));
    }
    let addr: Multiaddr =
        text.parse().map_err(|error| format!("{error}; write it as /ip4/ADDRESS/tcp/PORT"))?;
    // As text, because the protocols of an address are libp2p's own affair.
    if addr.to_string().split('/').any(|part| part == "tcp") {
        return Ok(addr);
    }
    Err("write it as /ip4/ADDRESS/tcp/PORT; there is no transport but TCP".to_owned())
}

/// A number of bytes; `K`, `M` and `G` stand for powers of 1,024.
fn memory_budget(text: &str) -> Result<u64, String> {
    let bytes = parse_size::Config::new().with_binary().parse_size(text);
    let bytes = bytes.map_err(|error| format!("{error}; write it as 256M or 1G"))?;
    let min = NodeConfig::MIN_MEMORY_BUDGET;
    if bytes < min {
        return Err(format!("the least is {}M", min >> 20));
    }
    Ok(bytes)
}

/// The multiaddr that was meant by `HOST:PORT`.
fn as_multiaddr(text: &str) -> Option<String> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        let family = if addr.is_ipv4() { "ip4" } else { "ip6" };
        return Some(format!("/{family}/{}/tcp/{}", addr.ip(), addr.port()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if host.is_empty() || !host.chars().all(is_name) || port.parse::<u16>().is_err() {
        return None;
    }
    Some(format!("/dns/{host}/tcp/{port}"))
}

/// The file with this added to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_colon_is_answered_with_its_multiaddr() {
        for (text, form) in [
            ("127.0.0.1:4001", "/ip4/127.0.0.1/tcp/4001"),
            ("[::1]:4001", "/ip6/::1/tcp/4001"),
            ("node.example.org:4001", "/dns/node.example.org/tcp/4001"),
        ] {
            let error = tcp_address(text).expect_err("it is no multiaddr");
            assert_eq!(error, format!("write it as {form}"));
            assert!(tcp_address(form).is_ok(), "{form}");
        }
        assert!(tcp_address("4001").expect_err("a port").contains("/ip4/ADDRESS/tcp/PORT"));
    }

    #[test]
    fn a_memory_budget_has_a_unit_and_a_least() {
        assert_eq!(memory_budget("256M"), Ok(NodeConfig::MEMORY_BUDGET));
        assert_eq!(memory_budget("1GiB"), Ok(1 << 30));
        for (text, advice) in
            [("64", "the least is 64M"), ("63M", "64M"), ("much", "256M"), ("-1", "256M")]
        {
            let error = memory_budget(text).expect_err(text);
            assert!(error.contains(advice), "{error}");
        }
        assert!(memory_budget("99999999999999G").is_err());
        let default = <Args as clap::CommandFactory>::command();
        let default = default.get_arguments().find(|argument| argument.get_id() == "memory_budget");
        let default = default.and_then(|argument| argument.get_default_values().first());
        let default = default.and_then(|value| value.to_str()).expect("a default");
        assert_eq!(memory_budget(default), Ok(NodeConfig::MEMORY_BUDGET));
    }
}
