//! `droptrace netlink crypto`: the algorithms that the kernel has registered.

use std::cmp::Reverse;
use std::io::{self, Write};

use anyhow::{Result, bail};
use serde::Serialize;

use super::table;
use crate::cli::args::{CryptoArgs, Format};
use crate::outside::to_json;
use crate::render::output::Output;

use crate::domain::report::Host;
use crate::netlink::Error;
use crate::netlink::crypto::{self, Algorithm, Flags};
use crate::run::host;

pub(super) async fn run(args: &CryptoArgs) -> Result<()> {
    let mut output = Output::open(args.show.results.file.output.as_deref())?;
    let algorithms = match crypto::list().await {
        Err(error) if is_absent(&error) => bail!(ABSENT),
        algorithms => algorithms?,
    };
    let skipped: u32 = algorithms.iter().map(|algorithm| algorithm.skipped_attributes).sum();
    if skipped > 0 {
        tracing::info!("{skipped} attributes of a newer kernel were skipped");
    }
    let wanted = selected(algorithms, args.name.as_deref());
    if let (true, Some(name)) = (wanted.is_empty(), &args.name) {
        bail!(
            "no algorithm or driver with {name:?} in its name is registered; algorithms are when their module is \
             loaded, and combinations such as gcm(aes) when they are first asked for"
        );
    }
    match args.show.results.format {
        Format::Text => write_text(&mut output, &wanted)?,
        Format::Json => write_json(&mut output, &host(), &wanted)?,
    }
    Ok(output.flush()?)
}

const ABSENT: &str = "this kernel does not report its algorithms over netlink: its module crypto_user is not loaded and \
                      could not be loaded (as root: `modprobe crypto_user`), or the kernel was built without it \
                      (CONFIG_CRYPTO_USER); /proc/crypto has most of it";

/// Returns whether no part of this kernel answers the protocol, or (before 4.20) none in this network namespace.
fn is_absent(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EPROTONOSUPPORT | libc::ECONNREFUSED))
}

/// The algorithms whose name or driver contains the text. Of several with the same name, the one that the kernel uses
/// comes first.
fn selected(mut algorithms: Vec<Algorithm>, name: Option<&str>) -> Vec<Algorithm> {
    let is_wanted = |algorithm: &Algorithm| {
        name.is_none_or(|name| algorithm.name.contains(name) || algorithm.driver.contains(name))
    };
    algorithms.retain(is_wanted);
    algorithms.sort_by(|one, other| {
        let key =
            |algorithm: &Algorithm| (algorithm.name.clone(), Reverse(algorithm.priority), algorithm.driver.clone());
        key(one).cmp(&key(other))
    });
    algorithms
}

fn self_test(algorithm: &Algorithm) -> &'static str {
    if algorithm.flags.has(Flags::TESTED) { "passed" } else { "unknown" }
}

fn write_text(out: &mut impl Write, algorithms: &[Algorithm]) -> io::Result<()> {
    let headings = ["ALGORITHM", "DRIVER", "TYPE", "PRIORITY", "SELF-TEST", "REFS", "MODULE", "DETAILS"];
    let rows = algorithms.iter().map(|algorithm| {
        [
            algorithm.name.clone(),
            algorithm.driver.clone(),
            algorithm.kind.clone().unwrap_or_else(|| "-".to_owned()),
            algorithm.priority.to_string(),
            self_test(algorithm).to_owned(),
            algorithm.references.to_string(),
            algorithm.module.clone(),
            details(algorithm),
        ]
    });
    let rows: Vec<_> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    table::write(out, 0, [false, false, false, true, false, true, false, false], &rows)
}

fn details(algorithm: &Algorithm) -> String {
    let traits = &algorithm.traits;
    let key = match (traits.min_key_size, traits.max_key_size) {
        (Some(least), Some(most)) if least != most => Some(format!("key {least} to {most}")),
        (_, most) => most.map(|most| format!("key {most}")),
    };
    let size = |what: &str, size: Option<u32>| size.map(|size| format!("{what} {size}"));
    let sizes = [
        size("digest", traits.digest_size),
        key,
        size("iv", traits.iv_size),
        size("tag up to", traits.max_auth_size),
        size("block", traits.block_size),
        size("seed", traits.seed_size),
    ];
    let notes =
        [(Flags::ASYNC, "async"), (Flags::INTERNAL, "internal"), (Flags::DYING, "dying"), (Flags::DEAD, "dead")];
    let notes = notes.into_iter().filter(|(flag, _)| algorithm.flags.has(*flag)).map(|(_, note)| note.to_owned());
    let all: Vec<_> = sizes.into_iter().flatten().chain(notes).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

#[derive(Serialize)]
struct Document<'d> {
    schema: &'static str,
    host: &'d str,
    kernel: &'d str,
    algorithms: Vec<AlgorithmJson<'d>>,
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the document's fields")]
struct AlgorithmJson<'d> {
    name: &'d str,
    driver: &'d str,
    module: &'d str,
    r#type: Option<&'d str>,
    priority: i32,
    references: u32,
    self_test: &'static str,
    larval: bool,
    internal: bool,
    r#async: bool,
    instance: bool,
    flags: String,
    digest_size: Option<u32>,
    block_size: Option<u32>,
    min_key_size: Option<u32>,
    max_key_size: Option<u32>,
    iv_size: Option<u32>,
    iv_generator: Option<&'d str>,
    max_auth_size: Option<u32>,
    seed_size: Option<u32>,
}

fn write_json(out: &mut impl Write, host: &Host, algorithms: &[Algorithm]) -> io::Result<()> {
    let document = Document {
        schema: "droptrace.netlink_crypto.v1",
        host: &host.name,
        kernel: &host.kernel,
        algorithms: algorithms.iter().map(json).collect(),
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}

fn json(algorithm: &Algorithm) -> AlgorithmJson<'_> {
    let Algorithm { name, driver, module, priority, references, flags, kind, traits, .. } = algorithm;
    AlgorithmJson {
        name,
        driver,
        module,
        r#type: kind.as_deref(),
        priority: *priority,
        references: *references,
        self_test: self_test(algorithm),
        larval: flags.has(Flags::LARVAL),
        internal: flags.has(Flags::INTERNAL),
        r#async: flags.has(Flags::ASYNC),
        instance: flags.has(Flags::INSTANCE),
        flags: format!("{flags:#x}"),
        digest_size: traits.digest_size,
        block_size: traits.block_size,
        min_key_size: traits.min_key_size,
        max_key_size: traits.max_key_size,
        iv_size: traits.iv_size,
        iv_generator: traits.iv_generator.as_deref(),
        max_auth_size: traits.max_auth_size,
        seed_size: traits.seed_size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::crypto_samples;

    fn names(name: Option<&str>) -> Vec<String> {
        selected(crypto_samples(), name).into_iter().map(|algorithm| algorithm.driver).collect()
    }

    #[test]
    fn algorithm_that_the_kernel_uses_comes_first() {
        assert_eq!(names(Some("sha256")), ["sha256-ni", "sha256-generic"]);
        assert_eq!(names(Some("gcm-aesni")), ["rfc4106-gcm-aesni"]);
        assert_eq!(names(Some("chacha20")), [""; 0]);
        assert_eq!(names(None).len(), crypto_samples().len());
    }

    #[test]
    fn a_row_for_each_algorithm() {
        let mut out = Vec::new();
        write_text(&mut out, &selected(crypto_samples(), None)).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_document_with_all_algorithms() {
        let mut out = Vec::new();
        let host = Host { name: "lab-1".into(), kernel: "6.18.44".into() };
        write_json(&mut out, &host, &selected(crypto_samples(), Some("aes"))).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
