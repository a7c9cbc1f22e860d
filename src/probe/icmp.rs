//! The `icmp` probe: one echo request, one reply. Over the kernel's own ping socket where it lets Iaso's group have one
//! (`net.ipv4.ping_group_range`), else over a raw one, which takes CAP_NET_RAW.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::probe::connect::Connector;
use crate::probe::report::Report;
use crate::probe::run::{Failed, Run};
use crate::system::clock::{random_u64, stopwatch};

/// What is asked and answered: type of the request, type of the reply.
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Pings once. Ends within `limit`.
pub(super) async fn probe(host: &str, connector: &Connector, limit: Duration) -> Report {
    let mut run = Run::new();
    let ended = timeout(limit, ping(host, connector, &mut run)).await;
    run.report(&ended, limit)
}

async fn ping(host: &str, connector: &Connector, run: &mut Run) -> Result<(), Failed> {
    let addresses = connector.resolve(host, run).await?;
    let Some(address) = addresses.first().copied() else { return run.fail("resolve", "no address".to_owned()) };
    let socket = match Socket::open(address) {
        Ok(socket) => socket,
        Err(error) => {
            let cure = "let Iaso's group have them (sysctl net.ipv4.ping_group_range), or give Iaso CAP_NET_RAW";
            return run.fail("socket", format!("no socket for pings ({error}): {cure}"));
        }
    };
    run.doing("echo", "no reply came");
    let took = stopwatch();
    // Only the peer's own answers, and the word of those on the way that it cannot be reached.
    let echoed = match socket.packets.connect((address, 0)).await {
        Ok(()) => socket.echo(address).await,
        Err(error) => Err(error),
    };
    match echoed {
        Ok(()) => {
            run.did("echo", took(), format!("{address} replied"));
            Ok(())
        }
        Err(error) => run.broke("echo", took(), format!("no echo from {address}: {error}")),
    }
}

struct Socket {
    /// Packets go in and out of it as they do of any datagram socket.
    packets: UdpSocket,
    /// Without the kernel's help: it neither fills in checksums nor sorts out replies.
    raw: bool,
}

impl Socket {
    fn open(address: IpAddr) -> io::Result<Self> {
        let (family, protocol) = match address {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let open = |kind| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(family, kind, flags, Some(protocol))
        };
        let (fd, raw) = match open(SocketType::DGRAM) {
            Ok(fd) => (fd, false),
            // What the group may not have, a capability may. Its refusal is the one to tell.
            Err(_) => (open(SocketType::RAW)?, true),
        };
        Ok(Self { packets: UdpSocket::from_std(fd.into())?, raw })
    }

    /// Asks the peer that it is connected to, and waits for the answer to just that.
    async fn echo(&self, address: IpAddr) -> io::Result<()> {
        let (asks, answers) = if address.is_ipv4() { ECHO_V4 } else { ECHO_V6 };
        // Tells this echo from all others, of other processes too: raw sockets get everybody's.
        let token = random_u64().to_be_bytes();
        let mut request = [0; HEADER + 8];
        request[0] = asks;
        request[4..8].copy_from_slice(&token[..4]);
        request[HEADER..].copy_from_slice(&token);
        let sum = checksum(&request).to_be_bytes();
        // Of ICMPv6 the kernel knows the addresses that its checksum covers, and fills it in.
        request[2..4].copy_from_slice(&sum);
        self.packets.send(&request).await?;
        let mut packet = [0; 512];
        loop {
            let length = self.packets.recv(&mut packet).await?;
            let message = self.message(address, &packet[..length]);
            if message.first() == Some(&answers) && message.get(HEADER..) == Some(&token[..]) {
                return Ok(());
            }
        }
    }

    /// What came without the head of the packet, which raw sockets of IPv4 hand over with it.
    fn message<'a>(&self, address: IpAddr, packet: &'a [u8]) -> &'a [u8] {
        let head = match packet.first() {
            Some(first) if self.raw && address.is_ipv4() => usize::from(first & 0x0f) * 4,
            _ => 0,
        };
        packet.get(head..).unwrap_or_default()
    }
}

/// The Internet checksum (RFC 1071) of a message of even length.
fn checksum(message: &[u8]) -> u16 {
    let mut sum: u32 = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests;
