//! Planted faults: `stat --explain` names the cause of each one and a command that shows it, in the right namespace.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use tests::case::drained;
use tests::droptrace::Droptrace;
use tests::netns::Netns;
use tests::tcp::listener_with;
use tests::trials::trial_as_root;
use tests::wire::udp;
use tests::{eventually, patience};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 71, 2, 2);

/// As long as a connection is tried that nobody answers.
const SHORT: Duration = Duration::from_millis(300);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("full_receive_buffer", full_receive_buffer),
        trial_as_root("forgotten_rule_of_the_firewall", forgotten_rule_of_the_firewall),
        trial_as_root("small_mtu_and_no_icmp", small_mtu_and_no_icmp),
        trial_as_root("full_accept_queue", full_accept_queue),
        trial_as_root("reverse_path_filter", reverse_path_filter),
        trial_as_root("trace_explains_what_it_shows", trace_explains_what_it_shows),
        trial_as_root("usual_drops_come_last", usual_drops_come_last),
    ]
}

/// Client, router and server, each a namespace with a name.
struct Hosts {
    client: Netns,
    router: Netns,
    server: Netns,
    names: [String; 3],
}

impl Hosts {
    fn new(fault: &str) -> Result<Self> {
        let names = ["c", "r", "s"].map(|host| format!("{fault}-{host}-{}", process::id()));
        let [client, router, server] = names.each_ref().map(|name| Netns::named(name));
        let (client, router, server) = (client?, router?, server?);
        client.command(&format!("ip link add c0 type veth peer name r0 netns {}", names[1]))?;
        router.command(&format!("ip link add r1 type veth peer name s0 netns {}", names[2]))?;
        client.commands(
            "ip address add 10.71.1.2/24 dev c0
             ip link set c0 up
             ip route add default via 10.71.1.1",
        )?;
        router.commands(
            "ip address add 10.71.1.1/24 dev r0
             ip address add 10.71.2.1/24 dev r1
             ip link set r0 up
             ip link set r1 up",
        )?;
        server.commands(
            "ip link set lo up
             ip address add 10.71.2.2/24 dev s0
             ip link set s0 up
             ip route add default via 10.71.2.1",
        )?;
        router.sysctl("net/ipv4/ip_forward", "1")?;
        let hosts = Self { client, router, server, names };
        hosts.await_path()?;
        Ok(hosts)
    }

    /// Waits until datagrams arrive. The kernel activates the links a moment after they are up, and packets may wait a second for
    /// the link addresses of neighbours.
    fn await_path(&self) -> Result<()> {
        let socket = udp(&self.server, (Ipv4Addr::UNSPECIFIED, 7).into())?;
        socket.set_nonblocking(true)?;
        eventually("a datagram to arrive", || {
            self.send(7, 1, 1)?;
            Ok(socket.recv(&mut [0; 8]).is_ok())
        })?;
        drained()
    }

    /// Sends datagrams from the client to the server.
    fn send(&self, port: u16, times: usize, length: usize) -> Result<()> {
        let socket = udp(&self.client, (Ipv4Addr::UNSPECIFIED, 0).into())?;
        for _ in 0..times {
            // An error is the answer to the datagram before.
            _ = socket.send_to(&vec![0; length], (SERVER, port));
        }
        Ok(())
    }

    /// Absent if the server does not answer in this time.
    fn connect(&self, port: u16, within: Duration) -> Result<Option<TcpStream>> {
        let address = SocketAddr::from((SERVER, port));
        self.client.run(|| Ok(TcpStream::connect_timeout(&address, within).ok()))
    }
}

/// What `stat --explain` prints of a fault.
fn diagnosed(fault: impl FnOnce() -> Result<()>) -> Result<String> {
    explained(&["stat", "--explain"], fault)
}

fn explained(arguments: &[&str], fault: impl FnOnce() -> Result<()>) -> Result<String> {
    let droptrace = Droptrace::start(arguments)?;
    fault()?;
    drained()?;
    let finished = droptrace.finish()?;
    ensure!(finished.status.success(), "{finished:?}");
    Ok(finished.stdout)
}

/// Fails unless the text has a command, and the command prints something.
fn leads_to(text: &str, command: &str, found: &str) -> Result<()> {
    let is_it = |line: &str| line.trim().split("  # ").next() == Some(command);
    ensure!(text.lines().any(is_it), "no {command:?} in {text}");
    let output = Command::new("sh").args(["-c", command]).output().with_context(|| format!("starting {command}"))?;
    let shown = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && shown.contains(found), "{command}: no {found:?} in {output:?}");
    Ok(())
}

fn full_receive_buffer() -> Result<()> {
    let hosts = Hosts::new("rcvbuf")?;
    let socket = udp(&hosts.server, (Ipv4Addr::UNSPECIFIED, 8_125).into())?;
    set_socket_recv_buffer_size(&socket, 2_048)?;
    let text = diagnosed(|| hosts.send(8_125, 100, 500))?;
    let server = &hosts.names[2];
    ensure!(text.contains("drops: SOCKET_RCVBUFF at ") && text.contains(&format!("on s0 in netns {server}")), "{text}");
    ensure!(text.contains("UDP 10.71.1.2:") && text.contains("> 10.71.2.2:8125 len 542"), "{text}");
    let pid = format!("pid={}", process::id());
    leads_to(&text, &format!("ip netns exec {server} ss -uanmp sport = :8125"), &pid)
}

fn forgotten_rule_of_the_firewall() -> Result<()> {
    let hosts = Hosts::new("rule")?;
    hosts.router.probe(
        "nft add table inet shop
         nft 'add chain inet shop old { type filter hook forward priority 0 ; }'
         nft add rule inet shop old tcp dport 8080 drop",
    )?;
    let text = diagnosed(|| hosts.connect(8_080, SHORT).map(drop))?;
    let router = &hosts.names[1];
    ensure!(text.contains("NETFILTER_DROP (core)") && text.contains(&format!("in netns {router}")), "{text}");
    let rule = format!("  droptrace rule --netns {router} tcp port 8080 and host {SERVER}");
    let (first, _) = text.split_once("What to run next").context("nothing to run")?;
    ensure!(first.contains(&rule) && !text.contains("conntrack"), "{text}");
    leads_to(&text, &format!("ip netns exec {router} nft -a list ruleset"), "tcp dport 8080 drop # handle")
}

fn small_mtu_and_no_icmp() -> Result<()> {
    let hosts = Hosts::new("mtu")?;
    hosts.router.command("ip link set r1 mtu 1400")?;
    hosts.router.probe(
        "nft add table inet shop
         nft 'add chain inet shop out { type filter hook output priority 0 ; }'
         nft add rule inet shop out ip protocol icmp drop",
    )?;
    let text = diagnosed(|| hosts.send(9, 5, 1_440))?;
    let router = &hosts.names[1];
    ensure!(text.contains("PKT_TOO_BIG (core)") && text.contains("NETFILTER_DROP (core)"), "{text}");
    ensure!(text.contains("so that the sender never learns"), "{text}");
    leads_to(&text, &format!("ip netns exec {router} ip link show"), "r1@if")?;
    leads_to(&text, &format!("ip netns exec {router} ip route get 10.71.2.2"), "dev r1")?;
    leads_to(&text, &format!("ip netns exec {router} nft -a list ruleset"), "ip protocol icmp drop")
}

fn full_accept_queue() -> Result<()> {
    let hosts = Hosts::new("accept")?;
    let _listener = listener_with(&hosts.server, 1, |_| Ok(()))?;
    let kept = [hosts.connect(80, patience())?, hosts.connect(80, patience())?];
    ensure!(kept.iter().all(Option::is_some), "the queue has room for two");
    let text = diagnosed(|| (0..3).try_for_each(|_| hosts.connect(80, SHORT).map(drop)))?;
    let server = &hosts.names[2];
    let head = format!("losses outside kfree_skb: TcpExtListenDrops in netns {server} (listener ");
    ensure!(text.contains(&head) && text.contains("The service accepts connections more slowly"), "{text}");
    leads_to(&text, &format!("ip netns exec {server} ss -ltnp sport = :80"), &format!("pid={}", process::id()))
}

fn reverse_path_filter() -> Result<()> {
    let hosts = Hosts::new("rpf")?;
    hosts.server.sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    hosts.server.command("ip link add other type veth peer name beyond")?;
    hosts.server.commands("ip link set beyond up\nip link set other up\nip route add 10.71.1.0/24 dev other")?;
    let text = diagnosed(|| hosts.send(9, 4, 10))?;
    let server = &hosts.names[2];
    ensure!(text.contains("drops: IP_RPFILTER at ") && text.contains(&format!("on s0 in netns {server}")), "{text}");
    leads_to(&text, &format!("ip netns exec {server} ip route get 10.71.1.2"), "dev other")?;
    let sysctls = "sysctl net.ipv4.conf.all.rp_filter net/ipv4/conf/s0/rp_filter";
    leads_to(&text, &format!("ip netns exec {server} {sysctls}"), "net.ipv4.conf.all.rp_filter = 1")
}

/// `trace --explain`.
fn trace_explains_what_it_shows() -> Result<()> {
    let hosts = Hosts::new("trace")?;
    let server = &hosts.names[2];
    let text = explained(&["trace", "--explain", "--netns", server], || hosts.send(9, 4, 10))?;
    ensure!(text.contains("\n1. 4 drops: NO_SOCKET at ") && text.contains("> 10.71.2.2:9 len 52"), "{text}");
    leads_to(&text, &format!("ip netns exec {server} ss -ulnp sport = :9"), "Recv-Q")?;
    let text = explained(&["trace", "--netns", server], || hosts.send(9, 4, 10))?;
    ensure!(!text.contains("What to run next"), "{text}");
    Ok(())
}

/// `--explain`: unusual drops come before usual ones, which are more.
fn usual_drops_come_last() -> Result<()> {
    let hosts = Hosts::new("usual")?;
    hosts.server.sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    hosts.server.command("ip link add other type veth peer name beyond")?;
    let netns = format!("netns {} or netns {}", hosts.names[1], hosts.names[2]);
    let text = explained(&["stat", "--explain", "--filter", &netns], || {
        hosts.send(9, 20, 10)?;
        hosts.server.commands("ip link set beyond up\nip link set other up\nip route add 10.71.1.0/24 dev other")?;
        hosts.send(9, 3, 10)
    })?;
    let at = |words: &str| text.find(words).with_context(|| format!("no {words} in {text}"));
    ensure!(at("\n1. 3 drops: IP_RPFILTER")? < at("\n2. 20 drops: NO_SOCKET")?, "{text}");
    let text = explained(&["stat", "--filter", &netns], || hosts.send(9, 3, 10))?;
    ensure!(!text.contains("What to run next"), "without --explain: {text}");
    Ok(())
}
