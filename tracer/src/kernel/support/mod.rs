//! The capabilities of this process, the features of this kernel, and the remedies for missing ones.
//!
//! [`Facts::read`] asks the system once. All conclusions follow from its answers without another system call.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::btf::VMLINUX;
use crate::domain::unavailable::Unavailable;

/// `CAP_BPF` (`include/uapi/linux/capability.h`), the greater of the two capabilities that came with 5.8.
const CAP_BPF: u32 = 39;

/// The number of the first user namespace (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// How far the kernel protects itself from root (`security/lockdown/lockdown.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lockdown {
    /// The kernel is not locked down, or has no lockdown.
    #[default]
    None,
    /// The kernel's code cannot be changed. This level refuses nothing that droptrace does.
    Integrity,
    /// The kernel's memory cannot be read by address either: `bpf_probe_read_kernel` is refused, typed loads (`tp_btf`)
    /// are not.
    Confidentiality,
}

impl Lockdown {
    /// Parses the text of `/sys/kernel/security/lockdown`: `none [integrity] confidentiality`.
    fn parse(text: &str) -> Self {
        let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        match chosen.map(|(chosen, _)| chosen) {
            Some("integrity") => Self::Integrity,
            Some("confidentiality") => Self::Confidentiality,
            _ => Self::None,
        }
    }
}

/// The answers of the system, read once.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The effective capabilities of this process, within its user namespace.
    pub capabilities: CapabilitySet,
    /// The kernel has `CAP_BPF` and `CAP_PERFMON` (5.8 and later). Older kernels require `CAP_SYS_ADMIN` in place of
    /// both.
    pub knows_cap_bpf: bool,
    /// This process is in the initial user namespace. Capabilities of another user namespace, as in a rootless
    /// container, do not count for BPF.
    pub initial_user_namespace: bool,
    /// The file `/sys/kernel/btf/vmlinux` exists.
    pub has_btf: bool,
    /// The kernel has the system call `bpf` (it has the setting `kernel.unprivileged_bpf_disabled`).
    pub has_bpf: bool,
    /// How far the kernel protects itself.
    pub lockdown: Lockdown,
    /// The limit of memory that this process may lock, in bytes; `None` where there is no limit.
    pub locked_memory: Option<u64>,
    /// The path of this program, which capabilities can be granted to.
    pub program: PathBuf,
}

impl Facts {
    /// Asks the system. An answer that cannot be read counts as the one of most kernels.
    pub fn read() -> Self {
        let last_capability = fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        let user_namespace = fs::read_link("/proc/self/ns/user");
        let settings = Path::new("/proc/sys/kernel");
        Self {
            capabilities: capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective),
            knows_cap_bpf: last_capability
                .and_then(|text| text.trim().parse::<u32>().ok())
                .is_none_or(|last| last >= CAP_BPF),
            initial_user_namespace: user_namespace.map_or(true, |link| link == Path::new(INITIAL_USER_NAMESPACE)),
            has_btf: Path::new(VMLINUX).exists(),
            has_bpf: !settings.exists() || settings.join("unprivileged_bpf_disabled").exists(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .map_or(Lockdown::None, |text| Lockdown::parse(&text)),
            locked_memory: getrlimit(Resource::Memlock).current,
            program: std::env::current_exe().unwrap_or_else(|_| "droptrace".into()),
        }
    }

    /// The names of the missing capabilities that the kernel requires to load a tracing program.
    pub(crate) fn missing_capabilities(&self) -> Vec<&'static str> {
        let has = |wanted| self.capabilities.intersects(wanted | CapabilitySet::SYS_ADMIN);
        if !self.knows_cap_bpf {
            return if has(CapabilitySet::SYS_ADMIN) { vec![] } else { vec!["CAP_SYS_ADMIN"] };
        }
        let wanted = [("CAP_BPF", CapabilitySet::BPF), ("CAP_PERFMON", CapabilitySet::PERFMON)];
        wanted.into_iter().filter(|(_, capability)| !has(*capability)).map(|(name, _)| name).collect()
    }

    /// The known obstacles to loading and attaching, the most certain one first.
    pub(crate) fn obstacles(&self) -> Vec<Obstacle> {
        let mut found = Vec::new();
        if !self.has_bpf {
            found.push(Obstacle::NoBpf);
        }
        if !self.has_btf {
            found.push(Obstacle::NoBtf);
        }
        let missing = self.missing_capabilities();
        if !missing.is_empty() {
            found.push(Obstacle::Capabilities { missing, grant: self.grant() });
        } else if !self.initial_user_namespace {
            found.push(Obstacle::UserNamespace);
        }
        found
    }

    /// The possible causes of the kernel's refusal to load or attach. `errno` is the number of the kernel's error, and
    /// `None` if it is not known. The result is empty where the facts explain nothing, as when the verifier refused the
    /// program.
    pub(crate) fn explain_refusal(&self, errno: Option<i32>) -> Vec<Obstacle> {
        let mut found = self.obstacles();
        let refused = errno.is_some_and(|number| [libc::EPERM, libc::EACCES].contains(&number));
        if errno == Some(libc::ENOSYS) && self.has_bpf {
            found.insert(0, Obstacle::NoBpf);
        }
        // The verifier answers EINVAL because under this lockdown it does not offer the helper.
        if (refused || errno == Some(libc::EINVAL)) && self.lockdown == Lockdown::Confidentiality {
            found.push(Obstacle::Lockdown);
        }
        if errno == Some(libc::EPERM) && found.is_empty() {
            found.push(Obstacle::Policy { locked_memory: self.locked_memory });
        }
        found
    }

    fn grant(&self) -> Grant {
        let capabilities =
            if self.knows_cap_bpf { ["bpf", "perfmon", "syslog"].as_slice() } else { &["sys_admin", "syslog"] };
        Grant { capabilities, program: self.program.clone() }
    }
}

/// A cause that prevents loading or attaching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The system call `bpf` is not available.
    NoBpf,
    /// The kernel's type information is not available.
    NoBtf,
    /// The process lacks capabilities.
    Capabilities {
        /// The names of the missing capabilities.
        missing: Vec<&'static str>,
        /// How to grant the capabilities.
        grant: Grant,
    },
    /// The capabilities are those of another user namespace.
    UserNamespace,
    /// The kernel refuses to read its memory by address.
    Lockdown,
    /// All known conditions are met.
    Policy {
        /// The same as [`Facts::locked_memory`].
        locked_memory: Option<u64>,
    },
}

impl From<&Obstacle> for Unavailable {
    fn from(obstacle: &Obstacle) -> Self {
        match obstacle {
            Obstacle::NoBpf => Self::new(
                "the system call bpf is off: this kernel was built without CONFIG_BPF_SYSCALL, or a seccomp filter of \
                 the container hides it",
                "use a kernel that has it, or let the container call bpf",
            ),
            Obstacle::NoBtf => Self::new(
                format!(
                    "{VMLINUX} does not exist: this kernel was built without CONFIG_DEBUG_INFO_BTF, or /sys is not \
                     mounted"
                ),
                "use a kernel that has it (distribution kernels do)",
            ),
            Obstacle::Capabilities { missing, grant } => {
                Self::new(format!("this process lacks {}", missing.join(" and ")), grant.to_string())
            }
            Obstacle::UserNamespace => Self::new(
                "this process has capabilities only within its own user namespace (a rootless container?), and BPF \
                 requires those of the host",
                "run it on the host, or in a container without user namespace",
            ),
            Obstacle::Lockdown => Self::new(
                "the kernel is locked down (confidentiality), so programs may not read its memory by address",
                "start the machine with another lockdown= (/sys/kernel/security/lockdown shows the state)",
            ),
            Obstacle::Policy { locked_memory } => Self::because(format_args!(
                "this process has the capabilities for it, so a policy refused: a security module (SELinux, \
                 AppArmor), a seccomp filter of the container, or, before kernel 5.11, the limit on locked memory \
                 (ulimit -l, now {})",
                bytes(*locked_memory)
            )),
        }
    }
}

/// The cause and the remedy.
impl std::fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Unavailable::from(self).fmt(formatter)
    }
}

/// How to grant capabilities to this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The names of the capabilities in lower case, without `CAP_`.
    capabilities: &'static [&'static str],
    program: PathBuf,
}

impl std::fmt::Display for Grant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = |format: fn(&str) -> String, between| {
            self.capabilities.iter().map(|name| format(name)).collect::<Vec<_>>().join(between)
        };
        let program = self.program.display();
        let file = each(|name| format!("cap_{name}"), ",");
        let container = each(|name| format!("--cap-add {}", name.to_uppercase()), " ");
        let service = each(|name| format!("CAP_{}", name.to_uppercase()), " ");
        writeln!(formatter, "grant them by one of")?;
        writeln!(formatter, "  once:        sudo {program} …")?;
        writeln!(formatter, "  to the file: sudo setcap {file}+ep {program}")?;
        writeln!(formatter, "  a container: {container}")?;
        write!(formatter, "  a service:   AmbientCapabilities={service}")
    }
}

fn bytes(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".into(), |bytes| format!("{} KiB", bytes / 1024))
}
