//! The first process of a virtual machine for tests: mounts file systems, runs the programs of the plan, and
//! switches the machine off.
//!
//! The plan of a run is in the file [`PLAN`]. All output goes to the second serial port, so that the kernel's messages,
//! which go to the first, break no line. Lines of this program start with [`MARK`]; the host counts on each of them:
//!
//! * `droptrace-vm: up KERNEL`: the first; before it, a machine that dies has not run anything of ours;
//! * `droptrace-vm: start NAME`, then whatever the program prints, then `droptrace-vm: verdict NAME STATUS`;
//! * `droptrace-vm: end`: the last.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot, uname};
use rustix::termios::{OptionalActions, OutputModes, tcdrain, tcgetattr, tcsetattr};
use serde_json::Value;
use tests::machine::PLAN;

const MARK: &str = "droptrace-vm:";
const TERMINAL: &str = if cfg!(target_arch = "aarch64") { "/dev/ttyAMA1" } else { "/dev/ttyS1" };

/// Kinds of file systems and their mount points. The host's kernel may lack one.
const MOUNTS: [(&str, &str); 9] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
];

/// Modules that are loaded first, because two programs that ask for the same module at a time may find it half loaded.
/// A module that a kernel has built in or lacks is no error: the tests report it.
const MODULES: [&str; 7] = ["tun", "veth", "bridge", "vxlan", "sch_ingress", "cls_bpf", "nf_tables"];

/// Room in each processor's receive queue, and its file. An emulated processor can put off its work for so long that the
/// 1,000 packets of the default are too few: then packets of one test are dropped because of another.
const BACKLOG: (&str, &str) = ("/proc/sys/net/core/netdev_max_backlog", "100000");

fn main() {
    let mounted: Vec<_> = MOUNTS.iter().map(|(kind, folder)| (kind, mounted(kind, folder))).collect();
    if let Err(error) = run(&mounted) {
        // Without a terminal there is no plan: only the kernel's console can show the error.
        eprintln!("{MARK} cannot work: {error:#}");
    }
    let _ = reboot(RebootCommand::PowerOff);
}

fn mounted(kind: &str, folder: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    Ok(mount(kind, folder, kind, MountFlags::empty(), None)?)
}

fn run(mounts: &[(&&str, Result<()>)]) -> Result<()> {
    let terminal =
        File::options().read(true).write(true).open(TERMINAL).with_context(|| format!("opening {TERMINAL}"))?;
    let plan = fs::read(PLAN).with_context(|| format!("reading {PLAN}"))?;
    let plan: Value = serde_json::from_slice(&plan).with_context(|| format!("reading {PLAN}"))?;
    if plan["interactive"] != true {
        end_lines_as_they_are(&terminal)?;
    }
    say(&terminal, &format!("up {}", uname().release().to_string_lossy()))?;
    for (kind, result) in mounts {
        if let Err(error) = result {
            say(&terminal, &format!("note cannot mount {kind}: {error}"))?;
        }
    }
    for module in MODULES {
        let _ = Command::new("modprobe").args(["-q", module]).status();
    }
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if !status.as_ref().is_ok_and(ExitStatus::success) {
        say(&terminal, &format!("note cannot set lo up: {status:?}"))?;
    }
    if let Err(error) = fs::write(BACKLOG.0, BACKLOG.1) {
        say(&terminal, &format!("note cannot set {}: {error}", BACKLOG.0))?;
    }
    for job in plan["jobs"].as_array().context("the plan has no jobs")? {
        let name = job["name"].as_str().context("a job without a name")?;
        say(&terminal, &format!("start {name}"))?;
        let verdict = match start(job, &terminal) {
            Ok(status) => exit_status(status),
            Err(error) => format!("cannot-start ({error:#})"),
        };
        say(&terminal, &format!("verdict {name} {verdict}"))?;
    }
    say(&terminal, "end")?;
    Ok(tcdrain(&terminal)?)
}

/// No carriage returns: the host reads lines.
fn end_lines_as_they_are(terminal: &File) -> Result<()> {
    let mut settings = tcgetattr(terminal)?;
    settings.output_modes.remove(OutputModes::OPOST);
    Ok(tcsetattr(terminal, OptionalActions::Now, &settings)?)
}

/// Starts on a line of its own, whatever a program left behind.
fn say(mut terminal: &File, what: &str) -> io::Result<()> {
    terminal.write_all(format!("\n{MARK} {what}\n").as_bytes())
}

fn start(job: &Value, terminal: &File) -> Result<ExitStatus> {
    let program = job["program"].as_str().context("a job without a program")?;
    let mut command = Command::new(program);
    for argument in job["arguments"].as_array().into_iter().flatten() {
        command.arg(argument.as_str().context("an argument that is no text")?);
    }
    for (name, value) in job["environment"].as_object().into_iter().flatten() {
        command.env(name, value.as_str().context("a variable that is no text")?);
    }
    command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal.try_clone()?);
    command.current_dir(Path::new("/tmp")).status().with_context(|| format!("starting {program}"))
}

/// The exit status, or `signal-N`.
fn exit_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal-{signal}"),
        (None, None) => "unknown".to_owned(),
    }
}
