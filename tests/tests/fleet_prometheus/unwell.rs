//! `diagnose` with engines that are down, slow or missing.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Result, ensure};
use tests::droptrace::binary;

pub(crate) fn missing_engine_features_are_reported() -> Result<()> {
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let reported = diagnose(&format!("http://{closed}"), &[])?;
    ensure!(reported.contains("cannot reach") && reported.contains("Connection refused"), "{reported}");

    let reported = diagnose(&served("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<html></html>\n")?, &[])?;
    ensure!(reported.contains("not an answer of the Prometheus API"), "{reported}");

    let reported = diagnose(&served("HTTP/1.1 503 Gone\r\nContent-Length: 12\r\n\r\nno store yet")?, &[])?;
    ensure!(reported.contains("HTTP status 503 (no store yet)"), "{reported}");

    let reported = diagnose(&served("")?, &["--timeout", "100ms"])?;
    ensure!(reported.contains("had not answered in full after 100ms"), "{reported}");

    let reported = diagnose("http://me:hush@127.0.0.1", &[])?;
    ensure!(reported.contains("--http-config") && !reported.contains("hush"), "{reported}");
    Ok(())
}

/// Runs `diagnose`, which fails without results. Returns its one line on stderr.
fn diagnose(url: &str, more: &[&str]) -> Result<String> {
    let mut command = Command::new(binary()?.with_file_name("droptrace-fleet"));
    let output = command.args(["diagnose", "--prometheus", url]).args(more).stdin(Stdio::null()).output()?;
    let reported = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}: {reported}", output.status);
    ensure!(reported.lines().count() == 1 && reported.starts_with("droptrace-fleet: "), "{reported}");
    Ok(reported)
}

/// An address where one request receives this answer; with an empty text, no answer.
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
