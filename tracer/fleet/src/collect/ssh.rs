//! Asks hosts through OpenSSH's client.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;

use super::ask::Ask;
use super::host::Host;

/// Options of ssh. An option that was given before, or in the arguments of the user, goes before these: ssh takes the first
/// value of each. No password is asked for, and a host gets no way back into this machine.
const OPTIONS: [&str; 7] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "RequestTTY=no",
    "RemoteCommand=none",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
];

/// How hosts are asked through ssh.
#[derive(Clone, Debug, Default)]
pub struct Ssh {
    /// The configuration file instead of the user's own.
    pub configuration: Option<PathBuf>,
    /// The user for hosts that are named without one.
    pub user: Option<String>,
    /// Options as in `ssh_config(5)`, which go before those of this program.
    pub options: Vec<String>,
    /// Whether the program runs through sudo.
    pub sudo: bool,
}

impl Ssh {
    /// Prepares to run a program with arguments on a host.
    pub fn ask(&self, host: &Host, program: &[String]) -> Ask {
        let mut arguments = vec![OsString::from("-T")];
        if let Some(file) = &self.configuration {
            arguments.extend(["-F".into(), file.into()]);
        }
        for option in self.options.iter().map(String::as_str).chain(OPTIONS) {
            arguments.extend(["-o", option].map(OsString::from));
        }
        if let Some(port) = host.port {
            arguments.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = host.user.as_ref().or(self.user.as_ref()) {
            arguments.extend(["-l", user].map(OsString::from));
        }
        arguments.extend(["--", &host.name, &self.command_line(program)].map(OsString::from));
        Ask { name: host.shown(), program: "ssh", arguments }
    }

    /// The line that the shell of the host reads.
    fn command_line(&self, program: &[String]) -> String {
        let sudo: &[_] = if self.sudo { &["sudo", "-n", "--"] } else { &[] };
        let words: Vec<_> = sudo.iter().copied().chain(program.iter().map(String::as_str)).map(quoted).collect();
        words.join(" ")
    }
}

/// A word that each shell takes as it is.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''")).into()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::process::Command;

    use super::*;

    #[test]
    fn options_of_the_user_go_first_and_the_host_stands_alone() {
        let ssh =
            Ssh { configuration: None, user: Some("ops".into()), options: vec!["ConnectTimeout=1".into()], sudo: true };
        let program = ["droptrace", "snapshot", "--filter", "udp port 53"].map(str::to_owned);
        let ask = ssh.ask(&Host::parse("web-1:2222").unwrap(), &program);
        let line = |ask: &Ask| ask.arguments.join(OsStr::new(" ")).into_string().unwrap();
        let other = ssh.ask(&Host::parse("root@web-2").unwrap(), &program);
        assert!(line(&other).contains(" -l root -- web-2 "), "{other:?}");
        let line = line(&ask);
        assert!(line.starts_with("-T -o ConnectTimeout=1 -o BatchMode=yes -o ConnectTimeout=10 "), "{line}");
        assert!(
            line.ends_with(" -p 2222 -l ops -- web-1 sudo -n -- droptrace snapshot --filter 'udp port 53'"),
            "{line}"
        );
        assert_eq!((&*ask.name, ask.program), ("web-1:2222", "ssh"));
    }

    #[test]
    fn shells_read_words_as_they_are() {
        let words = ["it's", "a  b", "$(id)", "`id`", "", "\\", "~", "*", "!x", "a;b\nc", "\"", "-x", "#"];
        let line: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        let script = format!("printf '%s\\0' {}", line.join(" "));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), words.map(|word| format!("{word}\0")).concat());
    }
}
