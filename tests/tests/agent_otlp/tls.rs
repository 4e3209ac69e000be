//! Pushes over TLS.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tests::agent::Agent;
use tests::collector::{TAKEN, read};
use tests::droptrace::command;
use tests::eventually;
use tests::folder::Folder;

/// An endpoint gets metrics if the system trusts its certificate, and only then.
pub(super) fn trusts_whom_the_system_trusts() -> Result<()> {
    let key = generate_simple_self_signed(["localhost".to_owned()])?;
    let folder = Folder::new("tls")?;
    let trusted = folder.write("trusted.pem", key.cert.pem())?;
    let url = serve(&key)?;
    let pushes = |trusted: Option<&str>, result: &str| -> Result<()> {
        let mut command =
            command(&["agent", "--listen", "127.0.0.1:0", "--interval", "20ms", "--otlp-interval", "1s"])?;
        command.args(["--otlp", &url]).envs(trusted.map(|path| ("SSL_CERT_FILE", path)));
        let agent = Agent::spawn(&mut command)?;
        let ended = [("signal", "metrics"), ("result", result)];
        eventually(result, || Ok(agent.scrape()?.sum("droptrace_otlp_exports_total", &ended) > 0))?;
        agent.finish()?;
        Ok(())
    };
    pushes(None, "failed")?;
    pushes(Some(&trusted), "ok")
}

/// Takes all that comes, until the process ends.
fn serve(key: &CertifiedKey<KeyPair>) -> Result<String> {
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = Arc::clone(&config);
            // A client that does not trust goes away.
            thread::spawn(move || answer(config, stream));
        }
    });
    Ok(url)
}

fn answer(config: Arc<ServerConfig>, stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    while read(&mut reader)?.is_some() {
        let stream = reader.get_mut();
        stream.write_all(TAKEN).context("answering")?;
        stream.flush()?;
    }
    Ok(())
}
