//! What a service manager learns of the agent.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use tests::agent::Agent;
use tests::droptrace::command;
use tests::eventually;
use tests::folder::Folder;
use tests::trials::trial_as_root;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("service_manager_is_notified", service_manager_is_notified),
        trial_as_root(
            "service_manager_that_does_not_read_stops_nothing",
            service_manager_that_does_not_read_stops_nothing,
        ),
    ]
}

/// Ready once metrics are served, signs of life with each reading, a reload, the end.
fn service_manager_is_notified() -> Result<()> {
    let folder = Folder::new("agent-supervisor")?;
    let path = folder.path("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (messages, ended) = (Mutex::new(Vec::<String>::new()), Mutex::new(false));
    let count = |wanted: &str| messages.lock().expect("a panic").iter().filter(|it| it.starts_with(wanted)).count();
    thread::scope(|scope| {
        // A full socket would block the agent.
        scope.spawn(|| collect(&socket, &messages, &ended));
        let run = || {
            let mut command = command(&["agent", "--interval", "20ms", "--listen", "127.0.0.1:0"])?;
            command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "50000");
            let agent = Agent::spawn(&mut command)?;
            eventually("signs of life", || Ok(count("WATCHDOG=1\n") >= 3))?;
            ensure!(count("READY=1\nSTATUS=serving the drops of this host at http://127.0.0.1:") == 1);
            ensure!(count("RELOADING=1\n") == 0);
            agent.droptrace.signal(Signal::HUP)?;
            eventually("the end of a reload", || Ok(count("READY=1\n") == 2))?;
            ensure!(count("RELOADING=1\nMONOTONIC_USEC=") == 1 && count("STOPPING=1\n") == 0);
            ensure!(agent.finish()?.status.success());
            eventually("the end", || Ok(count("STOPPING=1\n") == 1))
        };
        let result = run();
        *ended.lock().expect("a panic") = true;
        result
    })?;
    let messages = messages.into_inner().expect("a panic");
    // Three intervals are longer than the time that the service manager had.
    ensure!(messages.first().context("no message")? == "WATCHDOG_USEC=60000\n", "{messages:?}");
    Ok(())
}

/// The queue of a socket is full after `net.unix.max_dgram_qlen` messages.
fn service_manager_that_does_not_read_stops_nothing() -> Result<()> {
    let folder = Folder::new("agent-unread")?;
    let path = folder.path("notify");
    let _socket = UnixDatagram::bind(&path)?;
    let mut command = command(&["agent", "--interval", "20ms", "--listen", "127.0.0.1:0"])?;
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "50000");
    let mut agent = Agent::spawn(&mut command)?;
    agent.droptrace.await_said("cannot notify the service manager")?;
    agent.settled()?;
    ensure!(agent.finish()?.status.success());
    Ok(())
}

fn collect(socket: &UnixDatagram, messages: &Mutex<Vec<String>>, ended: &Mutex<bool>) {
    let mut bytes = [0; 4_096];
    while !*ended.lock().expect("a panic") {
        match socket.recv(&mut bytes) {
            Ok(length) => {
                let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
                messages.lock().expect("a panic").push(message);
            }
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(error) => panic!("cannot receive: {error}"),
        }
    }
}
