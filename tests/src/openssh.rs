//! OpenSSH's server, where this machine has it, on hosts that tests make.

use std::env;
use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketType, connect, socket};

use crate::eventually;
use crate::folder::Folder;
use crate::netns::Netns;
use crate::trials::Unable;

/// Who may log in on the hosts; sshd needs a user of its own.
const PASSWD: &str = "root:x:0:0:root:HOME:/bin/sh\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n";
const SHADOW: &str = "root:*:20000:0:99999:7:::\nsshd:*:20000:0:99999:7:::\n";

/// Makes the file system of a host from this machine's, and becomes sshd. Nothing of it is visible outside.
const START: &str = r#"
set -e
hostname "$NAME"
mount -t tmpfs none /run
mkdir -p /run/sshd /run/netns
for file in passwd shadow; do mount --bind "$HOME/$file" "/etc/$file"; done
exec "$SSHD" -D -e -f "$HOME/sshd_config"
"#;

/// sshd: the program that `cargo xtask test` fetched, else the one installed; and the folder of its libraries.
///
/// # Errors
/// [`Unable`] when there is none that starts, or no client.
fn program() -> Result<(PathBuf, Option<PathBuf>)> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/openssh/usr");
    let libraries = fs::read_dir(fetched.join("lib")).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = libraries.map(|libraries| (fetched.join("sbin/sshd"), Some(libraries)));
    let installed = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].map(|path| (path.into(), None));
    let starts = |(program, libraries): &(PathBuf, Option<PathBuf>)| {
        let mut command = Command::new(program);
        libraries.as_ref().map(|libraries| command.env("LD_LIBRARY_PATH", libraries));
        // It has no option for its version: a wrong option shows its usage.
        command.arg("-?").output().is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("OpenSSH"))
    };
    let found = own.chain(installed).find(starts);
    let has_client = Command::new("ssh").arg("-V").output().is_ok_and(|output| output.status.success());
    ensure!(has_client, Unable("no ssh: cargo xtask test installs it, where there is apt".to_owned()));
    let (program, libraries) =
        found.ok_or_else(|| Unable("no sshd: cargo xtask test fetches it, where there is apt".to_owned()))?;
    Ok((program.canonicalize()?, libraries.map(|libraries| libraries.canonicalize()).transpose()?))
}

/// A network of hosts, with the operator's key and configuration.
#[derive(Debug)]
pub struct Network {
    /// The namespace of the operator, which has a cable to each host.
    pub operator: Netns,
    folder: Folder,
    sshd: PathBuf,
    libraries: Option<PathBuf>,
}

impl Network {
    /// A network without hosts.
    pub fn new() -> Result<Self> {
        let (sshd, libraries) = program()?;
        let (operator, folder) = (Netns::new()?, Folder::new("openssh")?);
        operator.commands("ip link set lo up")?;
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        let network = Self { operator, folder, sshd, libraries };
        network.key("key")?;
        network.key("host_key")?;
        let configuration = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nGlobalKnownHostsFile none\nUser root\nHashKnownHosts no\n",
            network.folder.path("key"),
            network.folder.path("known_hosts"),
        );
        network.folder.write("ssh_config", configuration)?;
        network.folder.write("known_hosts", "")?;
        Ok(network)
    }

    fn key(&self, name: &str) -> Result<()> {
        let line = ["-q", "-t", "ed25519", "-N", "", "-f", &self.folder.path(name)];
        let status = Command::new("ssh-keygen").args(line).status().context("starting ssh-keygen")?;
        ensure!(status.success(), "ssh-keygen: {status}");
        Ok(())
    }

    /// The operator's configuration of ssh.
    pub fn configuration(&self) -> String {
        self.folder.path("ssh_config")
    }

    /// Lets the operator call an address by a name, and know its key. Nothing need answer there.
    pub fn call(&self, name: &str, address: Ipv4Addr) -> Result<()> {
        let key = fs::read_to_string(self.folder.join("host_key.pub"))?;
        append(&self.folder.join("known_hosts"), &format!("{address} {key}"))?;
        append(&self.folder.join("ssh_config"), &format!("Host {name}\n  HostName {address}\n"))
    }

    /// Starts a host, whose programs are those in its folder `bin` and this machine's.
    pub fn host(&self, number: u8, name: &str) -> Result<Host> {
        let (netns, address) = (Netns::new()?, Ipv4Addr::new(10, 8, number, 2));
        netns
            .probe(&format!("ip link add name up0 type veth peer name host{number} netns {}", self.operator.path()))?;
        netns.commands(&format!("ip link set lo up\nip address add {address}/24 dev up0\nip link set up0 up"))?;
        self.operator
            .commands(&format!("ip address add 10.8.{number}.1/24 dev host{number}\nip link set host{number} up"))?;
        self.call(name, address)?;
        let home = self.folder.join(name);
        fs::create_dir_all(home.join("bin"))?;
        fs::write(home.join("passwd"), PASSWD.replace("HOME", &home.display().to_string()))?;
        fs::write(home.join("shadow"), SHADOW)?;
        fs::write(home.join("sshd_config"), self.sshd_config(&home, address))?;
        let child = self.start(&netns, name, &home)?;
        let host = Host { netns, home, child };
        let answers = || {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            Ok(connect(&socket, &std::net::SocketAddrV4::new(address, 22)).is_ok())
        };
        eventually("sshd", || host.netns.run(answers))?;
        Ok(host)
    }

    fn sshd_config(&self, home: &Path, address: Ipv4Addr) -> String {
        format!(
            "ListenAddress {address}:22\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n\
             SetEnv PATH={}:/usr/sbin:/usr/bin:/sbin:/bin\n",
            self.folder.path("host_key"),
            self.folder.path("key.pub"),
            home.join("bin").display(),
        )
    }

    fn start(&self, netns: &Netns, name: &str, home: &Path) -> Result<Child> {
        let mut command = Command::new("unshare");
        command.args(["--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START]);
        command.env("NAME", name).env("HOME", home).env("SSHD", &self.sshd);
        self.libraries.as_ref().map(|libraries| command.env("LD_LIBRARY_PATH", libraries));
        let log = fs::File::create(home.join("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        netns.run(|| command.spawn().context("starting unshare"))
    }
}

/// A host with sshd, which ends with its handle.
#[derive(Debug)]
pub struct Host {
    /// Its network namespace.
    pub netns: Netns,
    home: PathBuf,
    child: Child,
}

impl Host {
    /// A path in the home folder of its user.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Gives the host a program: a shell script.
    pub fn program(&self, name: &str, script: &str) -> Result<()> {
        let path = self.home.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Fails when it has ended already, which is well. All processes of its namespace end with it.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    let old = fs::read_to_string(path)?;
    fs::write(path, old + text).with_context(|| format!("writing {}", path.display()))
}
