//! What is run to ask a host, and where its answer goes.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::own::WAITING;

/// A host or a pod to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The host, as it was named.
    pub(super) name: String,
    /// The program of this machine that asks: `ssh` or `kubectl`.
    pub(super) program: &'static str,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
}

impl Ask {
    /// The host, as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command. The program ends with this process, however this process ends.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(WAITING).arg(std::process::id().to_string()).arg(self.program).args(&self.arguments);
        command
    }

    /// The name of the host's file, which no name leads out of its folder. Different hosts have different files.
    pub(super) fn file(&self) -> String {
        let mut file = String::new();
        for (at, byte) in self.name.bytes().enumerate() {
            let is_plain = byte.is_ascii_alphanumeric() || b"_-@:".contains(&byte) || (byte == b'.' && at > 0);
            if is_plain {
                file.push(byte.into());
            } else {
                _ = write!(file, "%{byte:02x}");
            }
        }
        file + ".json"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_their_folder() {
        let file = |name: &str| Ask { name: name.into(), program: "ssh", arguments: vec![] }.file();
        assert_eq!(file("ops@web-1.example:22"), "ops@web-1.example:22.json");
        assert_eq!(file(".."), "%2e..json");
        assert_eq!(file("../a"), "%2e.%2fa.json");
        assert_eq!(file("fe80::1%eth0"), "fe80::1%25eth0.json");
        assert_eq!(file("Zürich"), "Z%c3%bcrich.json");
    }
}
