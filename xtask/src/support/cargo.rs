//! The workspace, and the cargo and rustc in use.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::process;

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The cargo that started this program, as a command in the folder of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The same, with droptrace's own code optimized a little in the profile `dev`. Tests start droptrace many times, and each
/// start searches the kernel's types and symbols, which takes seconds without optimization in an emulated machine. An
/// edit is built faster without it, so `cargo test` on its own does not have it.
pub(crate) fn cargo_for_tests() -> Command {
    let mut command = cargo();
    command.args(["--config", "profile.dev.package.tracer.opt-level=1"]);
    command
}

/// Cargo's folder in the user's home, which holds the registry's sources.
pub(crate) fn home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .filter(|path| path.is_absolute())
}

/// Builds one binary of the workspace and returns where it is.
pub(crate) fn build_binary(package: &str, binary: &str, options: &[&str]) -> Result<PathBuf> {
    let mut command = build(package, binary);
    command.args(options);
    built(command, binary)
}

/// The command that builds one binary of the workspace, for [`built`].
pub(crate) fn build(package: &str, binary: &str) -> Command {
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics", "--package", package, "--bin", binary]);
    command
}

/// Runs the command, and returns where the binary is.
pub(crate) fn built(mut command: Command, binary: &str) -> Result<PathBuf> {
    // The output is read before the status is checked: on failure cargo's own messages on stderr have the cause.
    let messages = process::output(&mut command)?;
    executable(&messages, binary).with_context(|| format!("cargo built no executable of the name {binary}"))
}

/// The path of an executable in cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The compiler in use.
pub(crate) struct Toolchain {
    /// `1.95.0`.
    pub(crate) release: String,
    /// The first digits of the commit it was built from.
    pub(crate) commit: String,
    /// The triple it runs on.
    pub(crate) host: String,
    /// Its folder.
    pub(crate) sysroot: PathBuf,
}

impl Toolchain {
    /// Asks rustc.
    pub(crate) fn find() -> Result<Self> {
        let text = process::output(rustc().arg("-vV"))?;
        let sysroot = process::output(rustc().args(["--print", "sysroot"]))?;
        let field = |name: &str| {
            version_field(&text, name).with_context(|| format!("rustc -vV tells no `{name}`")).map(str::to_owned)
        };
        let mut commit = field("commit-hash")?;
        commit.truncate(9);
        Ok(Self { release: field("release")?, commit, host: field("host")?, sysroot: sysroot.trim_end().into() })
    }

    /// A name for files that are made for this compiler only.
    pub(crate) fn key(&self) -> String {
        format!("rustc-{}-{}", self.release, self.commit)
    }
}

fn rustc() -> Command {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

fn version_field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Sets the compiler's flags for everything that this cargo builds, whatever the user's own settings are.
pub(crate) fn set_rustflags(command: &mut Command, flags: &[OsString]) -> Result<()> {
    let mut encoded = OsString::new();
    for flag in flags {
        if flag.as_encoded_bytes().contains(&0x1f) {
            bail!("a path holds the control character 0x1f, which cargo parts flags by: {}", flag.display());
        }
        if !encoded.is_empty() {
            encoded.push("\u{1f}");
        }
        encoded.push(flag);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", encoded);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_is_found_by_its_own_message() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"droptrace"},"executable":null}"#,
            "\nnot JSON\n",
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"droptrace"},"executable":"/t/droptrace"}"#,
        );
        assert_eq!(executable(messages, "droptrace"), Some("/t/droptrace".into()));
        assert_eq!(executable(messages, "absent"), None);
    }

    #[test]
    fn the_compiler_is_known() {
        let text = "rustc 1.95.0\nrelease: 1.95.0\nhost: x86_64-unknown-linux-gnu\n";
        assert_eq!(version_field(text, "release"), Some("1.95.0"));
        assert_eq!(version_field(text, "commit-hash"), None);
    }

    #[test]
    fn flags_keep_their_spaces() {
        let mut command = Command::new("cargo");
        set_rustflags(&mut command, &["-C".into(), "linker=/a b".into()]).unwrap();
        let value = command.get_envs().find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS").unwrap().1;
        assert_eq!(value.unwrap(), "-C\u{1f}linker=/a b");
        assert!(set_rustflags(&mut command, &["\u{1f}".into()]).is_err());
    }
}
