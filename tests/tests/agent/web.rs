//! The options of the web config: encryption, passwords, and changes while the agent runs.

use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rcgen::{CertifiedKey, KeyPair};
use rustix::process::Signal;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tests::agent::{Agent, Answer, ask};
use tests::folder::Folder;
use tests::trials::trial_as_root;

/// `secret`, with bcrypt.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
/// alice:secret and alice:wrong.
const RIGHT: &str = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";
const WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_as_root("tls_and_passwords", tls_and_passwords),
        trial_as_root("certificates_are_renewed_while_it_runs", certificates_are_renewed_while_it_runs),
        trial_as_root("files_are_reloaded_and_wrong_ones_change_nothing", files_are_reloaded),
    ]
}

/// A new certificate for the agent.
fn certify(folder: &Folder) -> Result<CertifiedKey<KeyPair>> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    folder.write("server.crt", certified.cert.pem())?;
    folder.write("server.key", certified.signing_key.serialize_pem())?;
    Ok(certified)
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// An answer over TLS from an agent whose certificate is this one.
fn get(agent: &Agent, certified: &CertifiedKey<KeyPair>, headers: &str) -> Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    ask(&mut StreamOwned::<_, TcpStream>::new(connection, agent.connect()?), "/metrics", headers)
}

fn tls_and_passwords() -> Result<()> {
    let folder = Folder::new("tls")?;
    let certified = certify(&folder)?;
    let web = folder.write("web.yml", format!("{TLS}basic_auth_users:\n  alice: {HASH}\n"))?;
    // With encryption, the agent may listen to other hosts.
    let mut agent = Agent::start(&["--web-config", &web, "--listen", "0.0.0.0:0"])?;
    agent.address.set_ip([127, 0, 0, 1].into());
    for (headers, status) in [("", 401), (WRONG, 401), (RIGHT, 200), (WRONG, 401), (RIGHT, 200)] {
        let answer = get(&agent, &certified, headers)?;
        ensure!(answer.status == status, "{headers}: {answer:?}");
        ensure!((status == 401) == answer.headers.contains("www-authenticate: Basic"), "{answer:?}");
    }
    // In clear text there is no answer.
    ensure!(agent.get_with("/metrics", RIGHT).is_err(), "it speaks without TLS");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    ensure!(get(&agent, &other, RIGHT).is_err(), "it has another's certificate");
    let answer = get(&agent, &certified, RIGHT)?;
    for (cause, times) in [("credentials", 3), ("tls", 2)] {
        let line = format!("droptrace_http_refused_total{{cause=\"{cause}\"}} {times}\n");
        tests::eventually(&line, || Ok(get(&agent, &certified, RIGHT)?.body.contains(&line)))?;
    }
    ensure!(!answer.body.contains("alice"), "the answer contains a name");
    agent.finish()?;
    Ok(())
}

fn certificates_are_renewed_while_it_runs() -> Result<()> {
    let folder = Folder::new("renewed")?;
    let old = certify(&folder)?;
    let web = folder.write("web.yml", TLS)?;
    let mut agent = Agent::start(&["--web-config", &web])?;
    ensure!(get(&agent, &old, "")?.status == 200, "no answer");
    let new = certify(&folder)?;
    ensure!(get(&agent, &old, "")?.status == 200, "it took the new one unasked");
    agent.droptrace.signal(Signal::HUP)?;
    agent.droptrace.await_said("reloaded the files")?;
    ensure!(get(&agent, &new, "")?.status == 200 && get(&agent, &old, "").is_err(), "it keeps the old one");
    agent.finish()?;
    Ok(())
}

fn files_are_reloaded() -> Result<()> {
    let folder = Folder::new("anew")?;
    let config = folder.write("agent.toml", "max-series = 9\n")?;
    let mut agent = Agent::start(&["--config", &config])?;
    ensure!(agent.get("/metrics")?.status == 200, "no answer");
    folder.write("web.yml", format!("basic_auth_users:\n  alice: {HASH}\n"))?;
    folder.write("agent.toml", "max-series = 7\nweb-config = \"web.yml\"\n")?;
    agent.droptrace.signal(Signal::HUP)?;
    agent.droptrace.await_said("takes effect only after a restart of droptrace: max-series")?;
    agent.droptrace.await_said("reloaded the files")?;
    ensure!(agent.get("/metrics")?.status == 401, "it asks for no password");
    for (name, text, said) in [
        ("web.yml", "basic_auth_users: {alice: secret}\n", "not a bcrypt hash"),
        ("web.yml", "nonsense: {}\n", "nonsense"),
        ("agent.toml", "max-serie = 7\n", "similar: `max-series`"),
        ("agent.toml", "web-config = \"absent.yml\"\n", "absent.yml"),
        ("agent.toml", "listen = \n", "agent.toml"),
        ("agent.toml", "filter = \"reason SOCKET_RCVBUF\"\n", "SOCKET_RCVBUFF"),
    ] {
        folder.write(name, text)?;
        agent.droptrace.signal(Signal::HUP)?;
        let line = agent.droptrace.await_said("keeping the previous configuration")?;
        if !line.contains(said) {
            agent.droptrace.await_said(said)?;
        }
        let (without, with) = (agent.get("/metrics")?.status, agent.get_with("/metrics", RIGHT)?);
        ensure!(without == 401 && with.status == 200, "{text}: {without} without a password, {} with it", with.status);
        ensure!(with.body.contains("droptrace_series_limit 9\n"), "the bound changed");
    }
    agent.finish()?;
    Ok(())
}
