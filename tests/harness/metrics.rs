//! The HTTP endpoint of a daemon, through a client of a few lines.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::Daemon;

/// Status code, header and body of an answer to `GET`.
pub(crate) fn get(node: &Daemon, path: &str) -> (u16, String, String) {
    let addr = node.metrics_addr();
    let mut stream = TcpStream::connect(&addr).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (header, body) = answer.split_once("\r\n\r\n").expect("a header");
    let code = header.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (code, header.to_owned(), body.to_owned())
}

/// Value of a metric without labels.
pub(crate) fn value(node: &Daemon, name: &str) -> u64 {
    let (_, _, text) = get(node, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("{name} in\n{text}"));
    line.parse().expect("a number")
}
