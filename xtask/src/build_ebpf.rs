//! The subcommand `build-ebpf`.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::ebpf;
use crate::support::process::announce;

/// Builds the kernel program's object, which is checked in.
///
/// Sets up missing tools of the build in the target folder: bpf-linker on the compiler's own LLVM, and the standard
/// library's source (from rustup, else from Debian). Then builds, removes the DWARF, checks the contents of the object
/// (licence, programs, maps, BTF, no path of this machine) and writes it to tracer-ebpf/droptrace.bpf.o. The same
/// source gives the same bytes on every machine.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if the object that is checked in differs from a fresh build by a byte
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    build(args.check)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the object and writes it, or compares it with the one that is checked in.
pub(crate) fn build(check: bool) -> Result<()> {
    let (object, contents) = ebpf::build()?;
    let path = ebpf::object_path();
    let old = fs::read(&path);
    if old.as_ref().is_ok_and(|old| *old == object) {
        announce(format_args!("unchanged: {}, {contents}", path.display()));
        return Ok(());
    }
    if check {
        let old = old.with_context(|| format!("cannot read {}; `cargo xtask build-ebpf` makes it", path.display()))?;
        bail!("{}", difference(&old, &object));
    }
    fs::write(&path, &object).with_context(|| format!("cannot write {}", path.display()))?;
    announce(format_args!("written: {}, {contents}", path.display()));
    Ok(())
}

/// Describes where two objects differ, and what to do.
fn difference(old: &[u8], new: &[u8]) -> String {
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    format!(
        "the object that is checked in ({} bytes) differs from a fresh build ({} bytes) from byte {same} on. \
         If the kernel program or its tools were changed, run `cargo xtask build-ebpf` and commit the object",
        old.len(),
        new.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_has_the_first_difference() {
        assert!(difference(b"abcd", b"abxd").contains("(4 bytes) differs from a fresh build (4 bytes) from byte 2 on"));
        assert!(difference(b"ab", b"abcd").contains("from byte 2 on"));
        assert!(difference(b"", b"a").contains("from byte 0 on. If"));
    }
}
