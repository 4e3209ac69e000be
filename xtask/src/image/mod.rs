//! The subcommand `image`: a container image of the static binaries.

mod binary;
mod layer;
mod layout;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::support::cargo;
use crate::support::process::{self, announce};
use binary::{ARCHITECTURES, Binary};
use source::Source;

/// Writes a container image for each processor that `cargo xtask dist` built a binary for: as an OCI layout in target/image/oci, and
/// as an archive of it, target/image/droptrace-VERSION.oci.tar.
///
/// The image holds the binary and its licences, and nothing else. The same commit and binaries give the same bytes. Copy the image
/// to a registry with `skopeo copy --all oci:target/image/oci docker://REGISTRY/droptrace:VERSION`, or load it with
/// `podman load -i target/image/droptrace-VERSION.oci.tar`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Take this binary instead of those in target/dist; may be given once for each processor
    #[arg(long, value_name = "FILE")]
    binary: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let target = cargo::root().join("target");
    let files = if args.binary.is_empty() { binary::built(&target)? } else { args.binary.clone() };
    if files.is_empty() {
        bail!(
            "no binary in {}: run `cargo xtask dist` first, or name one with --binary",
            target.join("dist").display()
        );
    }
    let mut binaries = files.iter().map(|file| Binary::read(file)).collect::<Result<Vec<_>>>()?;
    binaries.sort_by_key(|binary| binary.architecture);
    if let Some([first, _]) = binaries.array_windows().find(|[first, second]| first.architecture == second.architecture)
    {
        bail!("two binaries for {}: name one with --binary, such as {}", first.architecture, first.file.display());
    }
    for (_, architecture) in ARCHITECTURES {
        if binaries.iter().all(|binary| binary.architecture != architecture) {
            announce(format_args!("left out {architecture}: no binary was built for it"));
        }
    }
    let folder = target.join("image");
    let source = Source::of_this_checkout();
    let digest = layout::write(&folder.join("oci"), &source, &binaries)?;
    let archive = archive(&folder, &source)?;
    announce(format_args!("{} holds {digest}, {} bytes", archive.display(), fs::metadata(&archive)?.len()));
    Ok(ExitCode::SUCCESS)
}

/// Packs the layout into one file, as `podman load` and other tools take it.
fn archive(folder: &Path, source: &Source) -> Result<PathBuf> {
    let archive = folder.join(format!("droptrace-{}.oci.tar", source.version));
    layer::pack(&folder.join("oci"), source.time, &archive)?;
    Ok(archive)
}

/// The SHA-256 sum of a file, in hexadecimal digits.
fn sum(file: &Path) -> Result<String> {
    let line = process::output(Command::new("sha256sum").arg("--").arg(file))?;
    // A line for a name with special characters starts with a backslash.
    let sum = line.trim_start_matches('\\').split_whitespace().next().unwrap_or_default();
    if sum.len() == 64 { Ok(sum.to_owned()) } else { bail!("sha256sum wrote {line:?} about {}", file.display()) }
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}
