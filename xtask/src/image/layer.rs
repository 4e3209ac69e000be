//! Archives whose bytes depend on their contents alone.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

use super::empty;
use crate::support::process;

/// The licences, where Debian's packages have them too.
const COPYRIGHT: &str = include_str!("../../../packaging/deb/copyright");
/// The files of an image beside the binary.
const LICENCES: &str = "usr/share/doc/droptrace/copyright";
/// The binary in an image.
pub(super) const PROGRAM: &str = "droptrace";

/// Lays out the files of an image in `root`, which is emptied.
pub(super) fn fill(root: &Path, binary: &Path) -> Result<()> {
    empty(root)?;
    let licences = root.join(LICENCES);
    fs::create_dir_all(licences.parent().unwrap_or(root)).with_context(|| format!("cannot fill {}", root.display()))?;
    fs::write(&licences, COPYRIGHT).with_context(|| format!("cannot write {}", licences.display()))?;
    let program = root.join(PROGRAM);
    fs::copy(binary, &program).with_context(|| format!("cannot copy {}", binary.display()))?;
    for folder in licences.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
        set_mode(folder, 0o755)?;
    }
    set_mode(&licences, 0o644)?;
    set_mode(&program, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).with_context(|| format!("cannot set the mode of {}", path.display()))
}

/// Packs the contents of a folder, sorted, as root's and with this time, whoever packs them and whenever.
pub(super) fn pack(folder: &Path, time: u64, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{time}")).arg("--file").arg(archive).arg("--directory").arg(folder);
    let mut names = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>())
        .with_context(|| format!("cannot read {}", folder.display()))?;
    names.sort();
    process::output(tar.env("LC_ALL", "C").arg("--").args(names)).map(drop)
}

/// Compresses a file, with no name and no time in the result.
pub(super) fn compress(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let file = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
    // 255 is an unknown system (RFC 1952).
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(file, Compression::best());
    encoder
        .write_all(&bytes)
        .and_then(|()| encoder.finish())
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}
