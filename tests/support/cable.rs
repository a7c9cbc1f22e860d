//! A network of a test's own with a cable to this machine, which can be cut: packets of it vanish then, as behind a firewall.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Removed, with both ends of the cable, when it is dropped.
pub struct Cable {
    /// The network's name.
    network: String,
    /// This machine's end.
    device: String,
    here: Ipv4Addr,
    /// The address at the other end.
    pub there: Ipv4Addr,
}

impl Cable {
    pub fn lay() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id().wrapping_mul(8).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
        // Addresses for tests of networks (RFC 2544), four for each cable.
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (number & 0x7fff) * 4;
        let cable = Self {
            network: format!("iaso-test-{number}"),
            device: format!("iaso-test-{:05x}", number & 0xf_ffff),
            here: Ipv4Addr::from(first + 1),
            there: Ipv4Addr::from(first + 2),
        };
        let Self { network, device, here, there } = &cable;
        ip(&format!("netns add {network}"));
        ip(&format!("link add {device} type veth peer name eth0 netns {network}"));
        ip(&format!("addr add {here}/30 dev {device}"));
        ip(&format!("link set {device} up"));
        ip(&format!("-n {network} addr add {there}/30 dev eth0"));
        ip(&format!("-n {network} link set eth0 up"));
        ip(&format!("-n {network} link set lo up"));
        cable
    }

    /// The network, as a file that leads there.
    pub fn network(&self) -> PathBuf {
        format!("/run/netns/{}", self.network).into()
    }

    /// Nothing comes back from the other end any more.
    pub fn cut(&self) {
        ip(&format!("-n {} route add blackhole {}/32", self.network, self.here));
    }

    pub fn mend(&self) {
        ip(&format!("-n {} route del blackhole {}/32", self.network, self.here));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for order in [format!("link del {}", self.device), format!("netns del {}", self.network)] {
            let _ = Command::new("ip").args(order.split(' ')).output();
        }
    }
}

/// `ip ORDER`, which must succeed.
fn ip(order: &str) {
    let output = Command::new("ip").args(order.split(' ')).output().expect("ip");
    assert!(output.status.success(), "ip {order}: {}", String::from_utf8_lossy(&output.stderr));
}
