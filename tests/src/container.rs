//! A container around droptrace, made of the kernel's parts alone: namespaces, a root file system of its own that cannot be
//! written to, the host's folders that a runtime would mount, and few capabilities.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::droptrace::{binary, piped};
use crate::trials::Unable;

/// Builds the root file system in the folder `$1` and starts the program `$2` there, with the capabilities `$3`. `$4` has the
/// folders of the host that the container sees. The programs of the host are mounted as well, because the program may need
/// libraries, and `setpriv` does.
const START: &str = r#"
set -eu
# Before Linux 5.11 maps count as locked memory.
ulimit -l unlimited 2>/dev/null || true
root=$1 program=$2 capabilities=$3 volumes=$4
shift 4
mount -t tmpfs container "$root"
mkdir -p "$root/proc" "$root/sys" "$root/tmp"
touch "$root/droptrace"
mount --bind "$program" "$root/droptrace"
for folder in /bin /sbin /lib /lib64 /usr; do
    if [ -L "$folder" ]; then cp -P "$folder" "$root$folder"
    elif [ -d "$folder" ]; then mkdir "$root$folder"; mount --bind "$folder" "$root$folder"; fi
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
for volume in $volumes; do
    mkdir -p "$root$volume"
    mount --rbind "$volume" "$root$volume"
done
mount -o remount,ro,bind "$root"
exec chroot "$root" setpriv --no-new-privs --inh-caps=-all --bounding-set="-all,$capabilities" /droptrace "$@"
"#;

/// What the container shares with the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Container<'a> {
    /// The container sees the host's processes.
    pub has_host_processes: bool,
    /// The container is in the host's cgroup namespace.
    pub has_host_cgroups: bool,
    /// Capabilities in the words of `setpriv`.
    pub capabilities: &'a [&'a str],
    /// Folders of the host, mounted so that later mounts there appear.
    pub volumes: &'a [&'a str],
}

/// The capabilities that counting takes, as the manifests for Kubernetes have them.
pub const LEAST: [&str; 3] = ["bpf", "perfmon", "syslog"];

impl Container<'_> {
    /// A command that runs droptrace in the container, in the network namespace of the caller. `root` is an empty folder.
    ///
    /// # Errors
    /// This machine lacks a program or the kernel a namespace: the test cannot run.
    pub fn command(&self, root: &Path, arguments: &[&str]) -> Result<Command> {
        let mut namespaces = vec!["--mount", "--propagation", "slave", "--kill-child", "--fork"];
        if !self.has_host_processes {
            namespaces.push("--pid");
        }
        if !self.has_host_cgroups {
            namespaces.push("--cgroup");
        }
        let probed = Command::new("unshare").args(&namespaces).args(["--", "setpriv", "--version"]).output();
        let probed = probed.map_err(|error| Unable(format!("cannot start unshare: {error}")))?;
        let reported = String::from_utf8_lossy(&probed.stderr);
        ensure!(probed.status.success(), Unable(format!("unshare makes no container: {}", reported.trim())));
        let capabilities: Vec<_> = self.capabilities.iter().map(|name| format!("+{name}")).collect();
        let words: [OsString; 4] = [
            root.into(),
            binary()?.canonicalize()?.into(),
            capabilities.join(",").into(),
            self.volumes.join(" ").into(),
        ];
        let mut command = Command::new("unshare");
        command.args(&namespaces).args(["--", "sh", "-c", START, "container"]).args(words).args(arguments);
        piped(command.stdin(Stdio::null()));
        Ok(command)
    }
}
