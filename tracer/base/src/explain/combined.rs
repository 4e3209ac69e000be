//! The texts and commands of a reason together with those of its drop site: without what cannot be at the site, and each command
//! once.

use std::borrow::Cow;

/// The begin of commands that show counters.
const NSTAT: &str = "ip netns exec NETNS nstat -az ";

/// The begin of commands that list sockets.
const SS: &str = "ip netns exec NETNS ss -";

/// The first port that Linux gives to clients unless a setting says otherwise (`net.ipv4.ip_local_port_range`,
/// `Documentation/networking/ip-sysctl.rst`).
pub(super) const FIRST_OF_CLIENTS: u16 = 32_768;

/// A protocol that a function of the kernel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Absent for functions of all protocols.
    fn of_function(name: &str) -> Option<Self> {
        [(Self::Tcp, "tcp"), (Self::Udp, "udp")].into_iter().find(|(_, part)| name.contains(part)).map(|found| found.0)
    }

    const fn other(self) -> Self {
        match self {
            Self::Tcp => Self::Udp,
            Self::Udp => Self::Tcp,
        }
    }

    fn is_in(self, text: &str) -> bool {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
        let is_of = |word: String| match self {
            Self::Tcp => (word.starts_with("tcp") && word != "tcpdump") || word == "syn",
            Self::Udp => word.starts_with("udp"),
        };
        words.into_iter().any(is_of)
    }
}

/// Whether a text may be about drops at a function: one about another protocol alone is not.
pub(super) fn fits(text: &str, function: &str) -> bool {
    Transport::of_function(function).is_none_or(|own| own.is_in(text) || !own.other().is_in(text))
}

/// The sentences that may be about drops at a function.
pub(super) fn sentences(text: &str, function: &str) -> String {
    text.split_inclusive(". ").filter(|sentence| fits(sentence, function)).collect::<String>().trim_end().to_owned()
}

/// The commands of a site and those of a reason. All counters are in one command, where the first one is; sockets that
/// listen are listed for the site alone.
pub(super) fn commands<'l>(of_site: &'l [String], of_reason: &'l [String], function: &str) -> Vec<Cow<'l, str>> {
    let lists = |command: &String| listed_sockets(command);
    let is_listed = of_site.iter().any(lists);
    let of_reason = of_reason.iter().filter(|command| !(is_listed && lists(command)));
    let mut combined: Vec<Cow<'l, str>> = Vec::new();
    let mut counters: Option<usize> = None;
    for command in of_site.iter().chain(of_reason) {
        if let Some(names) = command.strip_prefix(NSTAT) {
            let at = *counters.get_or_insert(combined.len());
            if at == combined.len() {
                combined.push(NSTAT.trim_end().into());
            }
            add_counters(combined[at].to_mut(), names, function);
        } else if fits(command, function) && !combined.contains(&Cow::Borrowed(command.as_str())) {
            combined.push(command.into());
        }
    }
    combined.retain(|command| &**command != NSTAT.trim_end());
    combined
}

fn add_counters(command: &mut String, names: &str, function: &str) {
    for name in names.split(' ').filter(|name| fits(name, function)) {
        if !command.split(' ').any(|known| known == name) {
            command.push(' ');
            command.push_str(name);
        }
    }
}

/// Whether a command lists sockets that listen.
pub(super) fn listed_sockets(command: &str) -> bool {
    let options = command.strip_prefix(SS).map(|rest| rest.trim_start_matches("6 -"));
    options.is_some_and(|options| options.split([' ', '{']).next().unwrap_or_default().contains('l'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_another_protocol_is_left_out() {
        let meaning = "No socket takes the packet. For TCP also: a child socket. Udp too.";
        assert_eq!(sentences(meaning, "__udp4_lib_rcv"), "No socket takes the packet. Udp too.");
        assert_eq!(sentences(meaning, "tcp_v4_rcv"), "No socket takes the packet. For TCP also: a child socket.");
        assert_eq!(sentences(meaning, "ip_rcv"), meaning);
        assert!(fits("tcpdump -ni IFACE udp", "udp_rcv") && fits("UDP and TCP", "udp_rcv"));
        assert!(!fits("Invalid SYN cookies.", "udp_rcv") && !fits("UdpNoPorts", "tcp_v4_rcv"));
    }

    #[test]
    fn counters_are_in_one_command_and_listeners_in_one() {
        let list =
            |commands: &[&str]| commands.iter().map(|command| format!("ip netns exec NETNS {command}")).collect();
        let of_site: Vec<String> = list(&["ss -ulnp{ sport = :DPORT}", "nstat -az UdpNoPorts UdpInErrors"]);
        let of_reason: Vec<String> = list(&["ss -lntup", "nstat -az UdpNoPorts TcpOutRsts Udp6NoPorts", "ss -s"]);
        let expected: Vec<String> =
            list(&["ss -ulnp{ sport = :DPORT}", "nstat -az UdpNoPorts UdpInErrors Udp6NoPorts", "ss -s"]);
        assert_eq!(commands(&of_site, &of_reason, "__udp4_lib_rcv"), expected);
        assert_eq!(commands(&[], &list(&["nstat -az TcpOutRsts"]), "udp_rcv"), [""; 0]);
        assert_eq!(commands(&[], &of_reason, "ip_rcv"), of_reason);
    }
}
