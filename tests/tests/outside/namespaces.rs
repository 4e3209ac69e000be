//! Which network namespaces are read: with and without a process, a name, a file, and capabilities.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use tests::case::drained;
use tests::droptrace::{Droptrace, Stat, binary, piped};
use tests::netns::Netns;
use tests::trials::trial_as_root;

const NO_PORTS: u64 = 7;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("namespace_without_a_process_is_entered", namespace_without_a_process_is_entered),
        trial_as_root("namespace_that_only_a_file_holds_is_read", namespace_that_only_a_file_holds_is_read),
        trial_as_root("namespace_whose_process_ends_is_read_by_a_file", namespace_whose_process_ends_is_read_by_a_file),
        trial_as_root("namespace_that_only_a_socket_holds_is_a_gap", namespace_that_only_a_socket_holds_is_a_gap),
        trial_as_root("namespace_that_may_not_be_entered_is_a_gap", namespace_that_may_not_be_entered_is_a_gap),
        trial_as_root("namespace_of_a_thread_is_read", namespace_of_a_thread_is_read),
        trial_as_root("many_namespaces_are_read", many_namespaces_are_read),
    ]
}

/// Sends datagrams to a port without a socket.
fn no_ports(netns: &Netns) -> Result<()> {
    netns.commands("ip link set lo up")?;
    netns.run(|| {
        for _ in 0..NO_PORTS {
            // An error of the port before is reported to the next call of the same socket.
            std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", "127.0.0.1:9")?;
        }
        Ok(())
    })
}

/// A namespace with a name and no process.
fn named_without_a_process(label: &str) -> Result<(Netns, String)> {
    let name = format!("{label}{}", std::process::id());
    Ok((Netns::named(&name)?, name))
}

fn namespace_without_a_process_is_entered() -> Result<()> {
    let (netns, name) = named_without_a_process("entered")?;
    for arguments in [&["--netns", &name][..], &[]] {
        let stat = Stat::during(arguments, || no_ports(&netns))?;
        let gaps = stat.0["outside"]["gaps"].to_string();
        ensure!(!gaps.contains(&name), "{gaps}");
        let counters = stat.0["outside"]["counters"].as_array().context("no counters")?;
        let is_own = |counter: &&Value| counter["netns_name"] == name && counter["counter"] == "UdpNoPorts";
        let counter = counters.iter().find(is_own).context("the counter did not rise")?;
        ensure!(counter["rise"] == NO_PORTS && counter["outside"] == 0, "{counter}");
    }
    Ok(())
}

/// The handle of the namespace is an open file of this process.
fn namespace_that_only_a_file_holds_is_read() -> Result<()> {
    let netns = Netns::new()?;
    for arguments in [&["--netns", &netns.path()][..], &[]] {
        ensure_is_read(&netns, &Stat::during(arguments, || no_ports(&netns))?)?;
    }
    Ok(())
}

/// As one that another droptrace's thread entered only to read its counters.
fn namespace_whose_process_ends_is_read_by_a_file() -> Result<()> {
    let netns = Netns::new()?;
    for arguments in [&["--netns", &netns.path()][..], &[]] {
        let resident = netns.resident()?;
        let stat = Stat::during(arguments, || {
            drop(resident);
            no_ports(&netns)
        });
        ensure_is_read(&netns, &stat?)?;
    }
    Ok(())
}

/// Ensures that the datagrams of [`no_ports`] were counted, and no gap names the namespace.
fn ensure_is_read(netns: &Netns, stat: &Stat) -> Result<()> {
    let outside = &stat.0["outside"];
    let gaps = outside["gaps"].to_string();
    ensure!(!gaps.contains(&netns.inum().to_string()), "{gaps}");
    let counters = outside["counters"].as_array().context("no counters")?;
    let is_own = |counter: &&Value| counter["netns"] == netns.inum() && counter["counter"] == "UdpNoPorts";
    let counter = counters.iter().find(is_own).with_context(|| format!("the counter did not rise: {outside}"))?;
    ensure!(counter["rise"] == NO_PORTS && counter["outside"] == 0, "{counter}");
    Ok(())
}

/// A socket holds the namespace, and no file of `/proc` stands for it.
fn namespace_that_only_a_socket_holds_is_a_gap() -> Result<()> {
    let netns = Netns::new()?;
    netns.commands("ip link set lo up")?;
    let socket = netns.run(|| Ok(std::net::UdpSocket::bind("127.0.0.1:0")?))?;
    let inum = netns.inum();
    drop(netns);
    let stat = Stat::during(&[], || {
        for _ in 0..NO_PORTS {
            // The kernel reports the refusal by the next call.
            _ = socket.send_to(b"x", "127.0.0.1:9");
        }
        drained()
    })?;
    let gaps = stat.0["outside"]["gaps"].to_string();
    // Other tests may have such namespaces meanwhile, so that the sentence names several.
    let is_named = gaps.contains(&inum.to_string()) || gaps.contains(" more are not read");
    ensure!(is_named && gaps.contains("are not read: no process, and no file"), "{gaps}");
    Ok(())
}

fn namespace_that_may_not_be_entered_is_a_gap() -> Result<()> {
    let (netns, name) = named_without_a_process("closed")?;
    let without = "--bounding-set=-sys_admin";
    let mut command = Command::new("/usr/bin/setpriv");
    let inum = netns.inum().to_string();
    command.args([without, "--inh-caps=-sys_admin"]).arg(binary()?);
    // Those of other namespaces may be too many to name this one.
    command.args(["stat", "--format", "json", "--netns", &inum]);
    let mut droptrace = Droptrace::spawn(piped(&mut command))?;
    droptrace.await_attached()?;
    no_ports(&netns)?;
    let stat = Stat::parse(&droptrace.finish()?.stdout)?;
    let gaps = stat.0["outside"]["gaps"].to_string();
    let gap = "no process was found in the namespace, and entering it needs CAP_SYS_ADMIN";
    ensure!(gaps.contains(&name) && gaps.contains(gap), "{gaps}");
    Ok(())
}

fn namespace_of_a_thread_is_read() -> Result<()> {
    let netns = Netns::new()?;
    let (end, ended) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (inside, is_inside) = std::sync::mpsc::channel();
        let netns = &netns;
        scope.spawn(move || {
            netns.run(move || {
                inside.send(())?;
                // The other end is dropped.
                let _ = ended.recv();
                Ok(())
            })
        });
        is_inside.recv()?;
        let stat = Stat::during(&["--netns", &netns.inum().to_string()], || no_ports(netns));
        drop(end);
        let outside = &stat?.0["outside"];
        let counter =
            outside["counters"].as_array().and_then(|all| all.iter().find(|it| it["counter"] == "UdpNoPorts"));
        ensure!(counter.is_some_and(|counter| counter["rise"] == NO_PORTS), "{outside}");
        Ok(())
    })
}

fn many_namespaces_are_read() -> Result<()> {
    const MANY: u64 = 200;
    let namespaces = (0..MANY).map(|_| Netns::new()).collect::<Result<Vec<_>>>()?;
    let _residents = namespaces.iter().map(Netns::resident).collect::<Result<Vec<_>>>()?;
    let stat = Stat::during(&[], || Ok(()))?;
    let read = stat.0["outside"]["namespaces"].as_u64().context("no namespaces")?;
    ensure!(read >= MANY, "{read} of {MANY} were read: {}", stat.0["outside"]["gaps"]);
    Ok(())
}
