//! The command line of `collect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use droptrace_base::command::heading;
use droptrace_base::render::units;

use super::ShowArgs;
use crate::collect::Host;

pub(super) const EXAMPLES: &str = "\
Examples:
  droptrace-fleet collect web-1 web-2 ops@db-1
  droptrace-fleet collect --hosts hosts.txt --user ops --sudo --duration 1m --out today/
  droptrace-fleet collect --hosts hosts.txt --ssh-option IdentityFile=~/.ssh/fleet --html fleet.html
  droptrace-fleet collect --hosts hosts.txt -- --owners pod --filter 'udp port 53'
  droptrace-fleet collect --kubectl --kubectl-option=--context=prod

On each host it runs `droptrace snapshot`, through OpenSSH's client or kubectl, and makes one report of the snapshots, as `merge` \
does. The hosts need droptrace, and a user with its capabilities, such as root (--user root) or one with --sudo. Nothing is \
installed and nothing stays on the hosts.

ssh reads its configuration (~/.ssh/config): names, users, keys, jump hosts. No password is asked for: use an agent or keys. A host \
whose key is unknown is refused. A file of hosts has one per line, as parallel-ssh has it: [USER@]NAME[:PORT] [USER], and comments \
after a #.

With --kubectl, the pods of the DaemonSet in packaging/kubernetes are asked, of all nodes.

The words after -- are further options of `droptrace snapshot`.

A host that fails is reported with the words of ssh, and does not stop the others; its drops are in no count.

Exit status: 0 no findings, 1 failed (also if no host answered), 2 wrong usage, 3 findings, 4 some hosts failed.";

/// Options of `collect`.
#[derive(Args, Clone, Debug)]
pub struct CollectArgs {
    /// Hosts as ssh names them: NAME, USER@NAME, NAME:PORT
    #[arg(value_name = "HOST", value_parser = host, required_unless_present_any = ["hosts", "kubectl"])]
    pub targets: Vec<Host>,

    /// File with further hosts, one per line
    #[arg(long, value_name = "FILE")]
    pub hosts: Option<PathBuf>,

    /// How long each host counts, such as 10s or 1m30s
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s", help_heading = heading::RUN)]
    pub duration: Duration,

    /// Time that a host may take beyond that, to connect and to answer
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "30s", help_heading = heading::RUN)]
    pub timeout: Duration,

    /// Number of hosts that are asked at a time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = units::number::<usize>(1..=1024))]
    #[arg(help_heading = heading::RUN)]
    pub parallel: usize,

    /// Largest size of an answer, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = units::number::<u64>(1..=128))]
    #[arg(hide_short_help = true, help_heading = heading::RUN)]
    pub max_size: u64,

    /// Keep the snapshots in this folder, which must be new or empty; without it they are removed
    #[arg(long, value_name = "FOLDER", help_heading = heading::OUTPUT)]
    pub out: Option<PathBuf>,

    /// The program on the hosts [default: droptrace; with --kubectl: /droptrace]
    #[arg(long, value_name = "PATH", help_heading = "Hosts")]
    pub droptrace: Option<String>,

    /// User for hosts that are named without one
    #[arg(long, value_name = "USER", value_parser = user, conflicts_with = "kubectl", help_heading = "Hosts")]
    pub user: Option<String>,

    /// Run the program through `sudo -n`, which must not ask for a password
    #[arg(long, conflicts_with = "kubectl", help_heading = "Hosts")]
    pub sudo: bool,

    /// Configuration file of ssh instead of ~/.ssh/config
    #[arg(long, value_name = "FILE", conflicts_with = "kubectl", help_heading = "Hosts")]
    pub ssh_config: Option<PathBuf>,

    /// Option of ssh as in its configuration, such as User=ops; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "kubectl", help_heading = "Hosts")]
    pub ssh_option: Vec<String>,

    /// Ask pods through `kubectl exec` instead of hosts through ssh
    #[arg(long, conflicts_with_all = ["targets", "hosts"], help_heading = "Kubernetes")]
    pub kubectl: bool,

    /// Namespace of the pods
    #[arg(long, value_name = "NAME", default_value = "droptrace", help_heading = "Kubernetes")]
    pub namespace: String,

    /// Labels of the pods
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "app.kubernetes.io/name=droptrace",
        help_heading = "Kubernetes"
    )]
    pub selector: String,

    /// Container of the pods
    #[arg(long, value_name = "NAME", default_value = "agent", help_heading = "Kubernetes")]
    pub container: String,

    /// Option of kubectl, such as --kubectl-option=--context=prod; may be given more than once
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true, requires = "kubectl", help_heading = "Kubernetes")]
    pub kubectl_option: Vec<String>,

    /// Compare with these: snapshots of an earlier time, or folders of them; may be given more than once
    #[arg(long, value_name = "SNAPSHOT")]
    pub baseline: Vec<PathBuf>,

    /// Log more to stderr: also what hosts say that answered
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Common options of all commands that show a fleet.
    #[command(flatten)]
    pub show: ShowArgs,

    /// Options of `droptrace snapshot` on the hosts, such as --owners
    #[arg(last = true, value_name = "SNAPSHOT-OPTION")]
    pub snapshot_options: Vec<String>,
}

fn host(text: &str) -> Result<Host, String> {
    Host::parse(text).map_err(|error| error.to_string())
}

/// A user is a part of a host's name.
fn user(text: &str) -> Result<String, String> {
    Host::parse(&format!("{text}@host")).map(|_| text.to_owned()).map_err(|_| "not the name of a user".into())
}
