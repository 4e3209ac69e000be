//! Hosts as an operator names them, on the command line or in a file.

use std::io;
use std::path::Path;

use droptrace_base::files;
use droptrace_base::outside::{is_hidden, printable};

/// The largest size of a file of hosts in bytes: some hundred thousand hosts.
const MAX_FILE: u64 = 16 << 20;
/// The longest name of a host, with user and port, in bytes: it becomes the name of a file.
const LONGEST: usize = 200;

/// A host that ssh connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or address, which ssh also looks up in its configuration.
    pub(super) name: String,
    /// The user to log in as; `None`: ssh's configuration decides.
    pub(super) user: Option<String>,
    /// The port; `None`: ssh's configuration decides.
    pub(super) port: Option<u16>,
}

/// The error for text that names no host.
#[derive(Debug, thiserror::Error)]
pub enum NoHost {
    /// The text is not of the form that is read.
    #[error("{} is not a host: write NAME, USER@NAME or NAME:PORT", printable(text).escape_debug())]
    Form {
        /// The text.
        text: String,
    },
    /// The name begins as an option does.
    #[error("{} is not a host: ssh would take a name or a user that begins with - for an option", printable(text))]
    Option {
        /// The text.
        text: String,
    },
    /// The file cannot be read.
    #[error("cannot read the hosts of {file}")]
    File {
        /// The file.
        file: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A line of a file names no host.
    #[error("{file}, line {line}")]
    Line {
        /// The file.
        file: String,
        /// The number of the line, from 1.
        line: usize,
        /// The cause.
        source: Box<NoHost>,
    },
}

impl Host {
    /// Reads `[USER@]NAME[:PORT]`. An IPv6 address with a port is in brackets.
    ///
    /// # Errors
    /// Fails for a name that ssh could take for something else.
    pub fn parse(text: &str) -> Result<Self, NoHost> {
        let malformed = || NoHost::Form { text: text.to_owned() };
        let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
        let (name, port) = split_port(rest).ok_or_else(malformed)?;
        if [Some(name), user].into_iter().flatten().any(|part| part.starts_with('-')) {
            return Err(NoHost::Option { text: text.to_owned() });
        }
        let is_word = |part: &str| !part.is_empty() && part.chars().all(is_of_word);
        if text.len() > LONGEST || !is_word(name) || !user.is_none_or(is_word) {
            return Err(malformed());
        }
        Ok(Self { name: name.to_owned(), user: user.map(str::to_owned), port })
    }

    /// Reads a file with a host per line, as parallel-ssh has it: `[USER@]NAME[:PORT] [USER]`. Empty lines and what follows
    /// a # are left out.
    ///
    /// # Errors
    /// Fails if the file cannot be read, and names the first line that is no host.
    pub fn read_file(path: &Path) -> Result<Vec<Self>, NoHost> {
        let file = path.display().to_string();
        let text = files::read_text(path, MAX_FILE).map_err(|source| NoHost::File { file: file.clone(), source })?;
        Self::read(&text).map_err(|(line, why)| NoHost::Line { file, line, source: Box::new(why) })
    }

    /// Reads the lines of a file. The error has the number of the line.
    pub(crate) fn read(text: &str) -> Result<Vec<Self>, (usize, NoHost)> {
        let hosts = text.lines().enumerate().filter_map(|(at, line)| {
            let line = line.split('#').next().unwrap_or_default().trim();
            (!line.is_empty()).then(|| of_line(line).map_err(|why| (at + 1, why)))
        });
        hosts.collect()
    }

    /// The host in one word, as it was named.
    pub(super) fn shown(&self) -> String {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        match self.port {
            Some(port) if self.name.contains(':') => format!("{user}[{}]:{port}", self.name),
            Some(port) => format!("{user}{}:{port}", self.name),
            None => format!("{user}{}", self.name),
        }
    }
}

fn of_line(line: &str) -> Result<Host, NoHost> {
    let mut words = line.split_whitespace();
    let (host, user, rest) = (words.next().unwrap_or_default(), words.next(), words.next());
    let host = Host::parse(host)?;
    match (user, rest) {
        (None, _) => Ok(host),
        (Some(user), None) if host.user.is_none() => {
            Host::parse(&format!("{user}@{}", Host { user: None, ..host }.shown()))
        }
        _ => Err(NoHost::Form { text: line.to_owned() }),
    }
}

/// Visible characters without a meaning for ssh, shells or folders.
fn is_of_word(c: char) -> bool {
    !is_hidden(c) && !c.is_whitespace() && !"/\\'\"`$&;|<>(){}[]*?!@".contains(c)
}

/// The name and the port of `NAME`, `NAME:PORT` or `[ADDRESS]:PORT`. A name with more than one colon is an IPv6 address.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':').map(|port| port.parse().ok()).or(port.is_empty().then_some(None));
        return match port? {
            None if !text.ends_with(']') => None,
            port => Some((address, port)),
        };
    }
    match text.split_once(':') {
        Some((name, port)) if !port.contains(':') => Some((name, Some(port.parse().ok()?))),
        _ => Some((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(user: Option<&str>, name: &str, port: Option<u16>) -> Host {
        Host { name: name.into(), user: user.map(Into::into), port }
    }

    #[test]
    fn hosts_have_users_and_ports() {
        let cases = [
            ("web-1", host(None, "web-1", None)),
            ("ops@web-1.example:2222", host(Some("ops"), "web-1.example", Some(2222))),
            ("fe80::1%eth0", host(None, "fe80::1%eth0", None)),
            ("ops@[fe80::1%eth0]:22", host(Some("ops"), "fe80::1%eth0", Some(22))),
        ];
        for (text, expected) in cases {
            let parsed = Host::parse(text).unwrap();
            assert_eq!((&parsed, parsed.shown().as_str()), (&expected, text));
        }
        assert_eq!(Host::parse("[::1]").unwrap(), host(None, "::1", None));
    }

    #[test]
    fn text_that_is_no_host_is_refused() {
        for text in [
            "",
            "@web",
            "a@",
            "web:",
            "web:x",
            "web:70000",
            "a b",
            "a/b",
            "../a",
            "a;b",
            "$(a)",
            "[::1",
            "[::1]x",
            "a\x1b",
        ] {
            assert!(matches!(Host::parse(text), Err(NoHost::Form { .. })), "{text:?}");
        }
        for text in ["-oProxyCommand=x", "-l@web", "ops@-web"] {
            assert!(matches!(Host::parse(text), Err(NoHost::Option { .. })), "{text:?}");
        }
        assert!(Host::parse(&"a".repeat(LONGEST + 1)).is_err());
        assert_eq!(
            Host::parse("a\x1b[2J").unwrap_err().to_string(),
            "a\u{fffd}[2J is not a host: write NAME, USER@NAME or NAME:PORT"
        );
    }

    #[test]
    fn files_have_comments_and_users() {
        let text = "# racks\n\nweb-1\n  ops@web-2:2222   # the second\nweb-3 root\r\n";
        let expected =
            [host(None, "web-1", None), host(Some("ops"), "web-2", Some(2222)), host(Some("root"), "web-3", None)];
        assert_eq!(Host::read(text).unwrap(), expected);
        for wrong in ["a\nb c d", "a\nops@b root", "a\n-b", "a\nb -c"] {
            assert_eq!(Host::read(wrong).unwrap_err().0, 2, "{wrong:?}");
        }
    }
}
