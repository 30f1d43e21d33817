//! Two network namespaces joined by a cable, for what loopback cannot do.

use std::process::{Command, Stdio};

/// The namespaces; dropping it removes them.
pub(crate) struct Cable {
    names: [String; 2],
}

/// Addresses of the two ends.
pub(crate) const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

impl Cable {
    /// Lays the cable, or says why that is not possible here.
    pub(crate) fn lay() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can make network namespaces".to_owned());
        }
        let pid = std::process::id();
        let cable = Self { names: [format!("dfs{pid}a"), format!("dfs{pid}b")] };
        let [a, b] = &cable.names;
        let veth = format!("veth{pid}");
        // The cable is made inside the first namespace, so that not even its
        // name can meet anything of the host.
        ip(&["netns", "add", a])?;
        ip(&["netns", "add", b])?;
        ip(&["-n", a, "link", "add", &veth, "type", "veth", "peer", "name", &veth, "netns", b])?;
        for (name, address) in cable.names.iter().zip(ADDRESSES) {
            ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", &veth])?;
            ip(&["-n", name, "link", "set", &veth, "up", "multicast", "on"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(cable)
    }

    pub(crate) fn names(&self) -> [&str; 2] {
        self.names.each_ref().map(String::as_str)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            // Laying it may have failed half-way.
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
