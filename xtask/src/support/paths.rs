//! Keeps paths of the building machine out of the built files: they would reveal the machine, and make builds differ.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::cargo;

/// Compiler flags that give each folder that differs between machines one name. The source of the kernel program's
/// library is in the checkout's.
///
/// The names are those of folders that no machine has: LLVM would copy the lines of a source that it can open into the
/// BTF.
pub(crate) fn remap_flags() -> Result<Vec<OsString>> {
    let mut names = vec![(cargo::root().to_owned(), "/remapped/droptrace")];
    names.extend(registry_sources()?.into_iter().map(|folder| (folder, "/remapped/registry")));
    Ok(names.iter().map(|(folder, name)| remap_flag(folder, name)).collect())
}

/// A flag that gives a folder another name.
pub(crate) fn remap_flag(folder: &Path, name: &str) -> OsString {
    let mut flag = joined("--remap-path-prefix=", folder);
    flag.push("=");
    flag.push(name);
    flag
}

/// An option with a path after it.
pub(crate) fn joined(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

/// The folders that hold the registries' sources: one for each registry, named after its host.
fn registry_sources() -> Result<Vec<PathBuf>> {
    let Some(folder) = cargo::home().map(|home| home.join("registry/src")) else { return Ok(Vec::new()) };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.sort();
    Ok(folders)
}

/// The folders that could appear in a built file: the checkout, the user's own, and others that the build uses.
pub(crate) fn of_this_machine(others: &[&Path]) -> Vec<PathBuf> {
    let mut folders = vec![cargo::root().to_owned()];
    folders.extend(others.iter().map(|folder| folder.to_path_buf()));
    folders.extend(cargo::home());
    folders.extend(env::home_dir());
    // A folder may have another name through a link.
    let real: Vec<_> = folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
    folders.extend(real);
    folders.retain(|folder| folder.is_absolute() && folder.parent().is_some());
    folders.sort();
    folders.dedup();
    folders
}

/// Fails if the built file contains the name of any of the folders.
pub(crate) fn check(object: &[u8], folders: &[PathBuf]) -> Result<()> {
    let found: Vec<_> = folders.iter().filter_map(|folder| find(object, folder)).collect();
    if !found.is_empty() {
        bail!("the built file contains paths of this machine:\n  {}", found.join("\n  "));
    }
    Ok(())
}

/// Finds the first occurrence of a folder, or of a file in it.
fn find(object: &[u8], folder: &Path) -> Option<String> {
    let name = folder.as_os_str().as_bytes();
    let offset = object.windows(name.len()).enumerate().find_map(|(offset, window)| {
        let before = offset.checked_sub(1).map(|before| object[before]);
        let after = object.get(offset + name.len());
        (window == name && !before.is_some_and(in_name) && !after.copied().is_some_and(in_name)).then_some(offset)
    })?;
    let text = object[offset..].iter().take_while(|byte| byte.is_ascii_graphic()).take(120);
    let text: String = text.map(|byte| char::from(*byte)).collect();
    Some(format!("{text} (at byte {offset})"))
}

/// Returns whether a byte next to a folder's name makes it the name of another: `/srcs` and `/a/src` are not `/src`.
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_given_a_name() {
        assert_eq!(
            remap_flag(Path::new("/home/a b"), "/remapped/droptrace"),
            "--remap-path-prefix=/home/a b=/remapped/droptrace"
        );
    }

    #[test]
    fn a_folder_is_found_with_what_follows() {
        let object = b"\x00\x01/home/me/droptrace/src/main.rs\x00";
        let error = check(object, &["/home/me".into(), "/other".into()]).unwrap_err();
        assert!(error.to_string().ends_with("\n  /home/me/droptrace/src/main.rs (at byte 2)"), "{error}");
        assert!(check(b"/src", &["/src".into()]).is_err());
        assert!(check(b"file:///src/lib.rs", &["/src".into()]).is_err());
    }

    #[test]
    fn part_of_another_name_is_not_found() {
        for other in [&b"/registry/aya/src/lib.rs\0"[..], b"/srcs/lib.rs", b"/src-2", b"", b"/sr"] {
            check(other, &["/src".into()]).unwrap();
        }
    }
}
