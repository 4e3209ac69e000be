//! Engines that are down, slow, or none at all, as whoever types `diagnose` meets them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Result, ensure};
use tests::droptrace::binary;

pub(crate) fn what_an_engine_lacks_is_told() -> Result<()> {
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let told = diagnose(&format!("http://{closed}"), &[])?;
    ensure!(told.contains("cannot reach") && told.contains("Connection refused"), "{told}");

    let told = diagnose(&served("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<html></html>\n")?, &[])?;
    ensure!(told.contains("no answer of Prometheus' API"), "{told}");

    let told = diagnose(&served("HTTP/1.1 503 Gone\r\nContent-Length: 12\r\n\r\nno store yet")?, &[])?;
    ensure!(told.contains("HTTP status 503 (no store yet)"), "{told}");

    let told = diagnose(&served("")?, &["--timeout", "100ms"])?;
    ensure!(told.contains("had not answered in full after 100ms"), "{told}");

    let told = diagnose("http://me:hush@127.0.0.1", &[])?;
    ensure!(told.contains("--http-config") && !told.contains("hush"), "{told}");
    Ok(())
}

/// What it says on stderr, in one line; it fails, and prints no results.
fn diagnose(url: &str, more: &[&str]) -> Result<String> {
    let mut command = Command::new(binary()?.with_file_name("droptrace-fleet"));
    let output = command.args(["diagnose", "--prometheus", url]).args(more).stdin(Stdio::null()).output()?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}: {told}", output.status);
    ensure!(told.lines().count() == 1 && told.starts_with("droptrace-fleet: "), "{told}");
    Ok(told)
}

/// An address where one request is answered with this; nothing: it is never answered.
fn served(answer: &'static str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        if answer.is_empty() {
            // Until the client goes.
            while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
        } else {
            let read = stream.read(&mut [0; 4096]);
            // A client that has gone shows it.
            _ = read.and_then(|_| stream.write_all(answer.as_bytes()));
        }
    });
    Ok(url)
}
