//! Compares the algorithms with those of `/proc/crypto`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::netlink::CRYPTO;
use rustix::net::{self, AddressFamily, SocketType};
use serde_json::Value;
use tests::netns::Netns;
use tests::trials::Unable;

use crate::{list, refused, run};

/// Readings, of which two must agree: references come and go while others compute.
const ATTEMPTS: u32 = 5;

/// Bytes of a name in netlink messages: 64, of which the last is NUL.
const NAME: usize = 63;

/// Lines of `/proc/crypto`, and the fields with the same values.
const FIELDS: [(&str, &str); 14] = [
    ("name", "name"),
    ("driver", "driver"),
    ("module", "module"),
    ("priority", "priority"),
    ("refcnt", "references"),
    ("selftest", "self_test"),
    ("internal", "internal"),
    ("type", "type"),
    ("blocksize", "block_size"),
    ("digestsize", "digest_size"),
    ("min keysize", "min_key_size"),
    ("max keysize", "max_key_size"),
    ("ivsize", "iv_size"),
    ("maxauthsize", "max_auth_size"),
];

/// Whether the kernel has the module that answers the requests, or can load it.
fn has_module() -> bool {
    net::socket(AddressFamily::NETLINK, SocketType::RAW, Some(CRYPTO)).is_ok()
}

pub(crate) fn crypto_without_its_module() -> Result<()> {
    ensure!(!has_module(), Unable("this kernel has crypto_user".to_owned()));
    refused(&run(&["netlink", "crypto"])?, &["modprobe crypto_user", "CONFIG_CRYPTO_USER", "/proc/crypto"])
}

/// Both list the same facts of every algorithm, an AEAD for `ip xfrm` among them.
pub(crate) fn crypto_equals_proc_crypto() -> Result<()> {
    ensure!(has_module(), Unable("this kernel has no crypto_user".to_owned()));
    let host = Netns::new()?;
    host.probe(&format!(
        "ip xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 1 mode tunnel aead rfc4106(gcm(aes)) 0x{} 128",
        "2a".repeat(20)
    ))?;
    for attempt in 1.. {
        let reported = read_from_proc()?;
        let found = read_from_droptrace(&[])?;
        if reported == found {
            break;
        }
        ensure!(
            attempt < ATTEMPTS,
            "only /proc/crypto: {:#?}\nonly droptrace: {:#?}",
            less(&reported, &found),
            less(&found, &reported)
        );
    }
    let aead = read_from_droptrace(&["rfc4106(gcm(aes))"])?;
    ensure!(aead.iter().any(|fields| fields["name"] == "rfc4106(gcm(aes))"), "{aead:?}");
    ensure!(aead.iter().all(|fields| fields["name"].contains("rfc4106(gcm(aes))")), "{aead:?}");
    refused(&run(&["netlink", "crypto", "no-such"])?, &["\"no-such\"", "is registered"])
}

type Fields = BTreeMap<&'static str, String>;

fn less(all: &[Fields], known: &[Fields]) -> Vec<Fields> {
    all.iter().filter(|fields| !known.contains(fields)).cloned().collect()
}

/// The algorithms in order, each with its facts.
fn read_from_proc() -> Result<Vec<Fields>> {
    let text = fs::read_to_string("/proc/crypto").context("reading /proc/crypto")?;
    let algorithm = |block: &str| -> Fields {
        let lines = block.lines().filter_map(|line| line.split_once(':'));
        let lines: BTreeMap<_, _> = lines.map(|(name, value)| (name.trim(), value.trim())).collect();
        let value = |(name, field): &(&str, &'static str)| Some((*field, cut(lines.get(name)?)));
        FIELDS.iter().filter_map(value).collect()
    };
    let mut algorithms: Vec<_> = text.split("\n\n").filter(|block| !block.trim().is_empty()).map(algorithm).collect();
    ensure!(!algorithms.is_empty(), Unable("/proc/crypto has no algorithms".to_owned()));
    algorithms.sort();
    Ok(algorithms)
}

fn cut(text: &str) -> String {
    text.chars().take(NAME).collect()
}

fn read_from_droptrace(arguments: &[&str]) -> Result<Vec<Fields>> {
    let document = crate::json(&[&["crypto"], arguments].concat())?;
    ensure!(document["schema"] == "droptrace.netlink_crypto.v1", "{document}");
    let algorithms = list(&document, "algorithms")?.iter().map(fields).collect::<Result<Vec<_>>>();
    let mut algorithms = algorithms?;
    algorithms.sort();
    Ok(algorithms)
}

fn fields(algorithm: &Value) -> Result<Fields> {
    let mut fields = Fields::new();
    for (_, field) in FIELDS {
        let text = match &algorithm[field] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Value::Number(number) => number.to_string(),
            other => bail!("{field} is {other}"),
        };
        fields.insert(field, text);
    }
    Ok(fields)
}
