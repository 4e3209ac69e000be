//! Commands of explanations with the values of a row instead of their words in capitals.
//!
//! A command of the data that looks into the network namespace of the drops begins with `ip netns exec NETNS`; a part in
//! braces (`ss -uanmp{ sport = :DPORT}`) stands only where all of its values are known.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::outside::is_hidden;

/// The begin of commands that look into the network namespace of the drops.
pub(super) const INSIDE: &str = "ip netns exec NETNS ";

/// The begin of the command that finds the rule of a firewall.
pub(super) const RULE: &str = "droptrace rule ";

/// How a command enters a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Entrance {
    /// The namespace, or a way into it, is not known.
    #[default]
    Unknown,
    /// The namespace is that of the reader: nothing is to be entered.
    Own,
    /// By its name under `/run/netns`.
    Name(String),
    /// By a process in it.
    Process(u32),
    /// By a file that stands for it.
    File(String),
}

/// The values of a row, each absent where it is unknown or differs within the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The way into the network namespace.
    pub entrance: Entrance,
    /// The network namespace as droptrace's option `--netns` takes it: a name, or an inode number.
    pub netns: Option<String>,
    /// The interface.
    pub interface: Option<String>,
    /// The packet's source address.
    pub source: Option<IpAddr>,
    /// The packet's destination address.
    pub destination: Option<IpAddr>,
    /// An address at either end.
    pub address: Option<IpAddr>,
    /// The packet's protocol above IP, as filters name it.
    pub transport: Option<&'static str>,
    /// The packet's source port.
    pub source_port: Option<u16>,
    /// The packet's destination port.
    pub destination_port: Option<u16>,
    /// A port at either end.
    pub port: Option<u16>,
    /// A process that has the packet's socket open.
    pub pid: Option<u32>,
    /// The filter that selects the drops of the row, in droptrace's language; empty if nothing of the row is known.
    pub filter: String,
}

/// A word in capitals, and its value.
type Placeholder = (&'static str, fn(&Values) -> Option<String>);

const PLACEHOLDERS: [Placeholder; 14] = [
    ("NETNS", |values| values.netns.clone()),
    ("IFACE", |values| values.interface.clone()),
    ("SOURCE", |values| values.source.map(|address| address.to_string())),
    ("DESTINATION", |values| values.destination.map(|address| address.to_string())),
    ("ADDRESS", |values| values.address.or(values.destination).or(values.source).map(|address| address.to_string())),
    ("SPORT", |values| values.source_port.map(|port| port.to_string())),
    ("DPORT", |values| values.destination_port.map(|port| port.to_string())),
    ("PORT", |values| values.port.or(values.destination_port).or(values.source_port).map(|port| port.to_string())),
    ("PID", |values| values.pid.map(|pid| pid.to_string())),
    ("REMOTE", |_| None),
    ("LENGTH", |_| None),
    ("BRIDGE", |_| None),
    ("FLOW", |_| None),
    ("ID", |_| None),
];

/// A command, and what is not known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The command as a shell takes it. It runs if `missing` is empty.
    pub text: String,
    /// The words in capitals that the reader has to fill in.
    pub missing: Vec<&'static str>,
}

/// Fills the values into a command of the data.
pub fn fill(template: &str, values: &Values) -> Command {
    let template = with_known_parts(template, values);
    let (entrance, command) = match template.strip_prefix(INSIDE) {
        Some(command) => (entered(&values.entrance), command),
        None => (Some(String::new()), &*template),
    };
    let mut missing = if entrance.is_none() { vec!["NETNS"] } else { vec![] };
    let text = by_words(&with_filter(command, values), |word| {
        let (name, value) = PLACEHOLDERS.iter().find(|(name, _)| *name == word)?;
        let value = value(values).filter(|value| is_safe(value));
        if value.is_none() && !missing.contains(name) {
            missing.push(name);
        }
        value.map(|value| quoted(&value).into_owned())
    });
    Command { text: entrance.unwrap_or_else(|| INSIDE.into()) + &text, missing }
}

/// Keeps the parts in braces whose values are all known.
fn with_known_parts(template: &str, values: &Values) -> String {
    let mut kept = String::new();
    let mut rest = template;
    while let Some((before, (part, after))) =
        rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        kept.push_str(before);
        if fill(part, values).missing.is_empty() {
            kept.push_str(part);
        }
        rest = after;
    }
    kept + rest
}

/// A command that runs in a network namespace: `ip netns exec web nft list ruleset`, or `ip netns exec NETNS …` where no way into
/// the namespace is known.
pub fn inside(entrance: &Entrance, command: &str) -> String {
    entered(entrance).unwrap_or_else(|| INSIDE.into()) + command
}

/// The begin of a command that enters the namespace; absent if the way in is not known.
fn entered(entrance: &Entrance) -> Option<String> {
    match entrance {
        Entrance::Own => Some(String::new()),
        Entrance::Name(name) if is_safe(name) => Some(format!("ip netns exec {} ", quoted(name))),
        Entrance::Process(pid) => Some(format!("nsenter -t {pid} -n ")),
        Entrance::File(path) if is_safe(path) => Some(format!("nsenter --net={} ", quoted(path))),
        Entrance::Unknown | Entrance::Name(_) | Entrance::File(_) => None,
    }
}

/// The commands of droptrace that count or show drops take the filter of the row instead of single options, and the one that
/// traces packets takes conditions on packets.
fn with_filter<'t>(template: &'t str, values: &Values) -> Cow<'t, str> {
    if template.starts_with(RULE) {
        let of_packet = of_packet(values);
        return if of_packet.is_empty() { template.into() } else { format!("{template} {of_packet}").into() };
    }
    let counts = ["droptrace trace", "droptrace stat"].iter().any(|command| template.starts_with(command));
    if !counts || values.filter.is_empty() {
        return template.into();
    }
    let bare = template.replace(" --interface IFACE", "").replace(" --netns NETNS", "");
    format!("{bare} {}", quoted(&values.filter)).into()
}

/// `udp port 53 and host 192.0.2.1`: the packets to and from the address that the row's packets are sent to.
fn of_packet(values: &Values) -> String {
    let port = values.port.or(values.destination_port).map(|port| format!("port {port}"));
    let port = match (values.transport, port) {
        (Some(transport), Some(port)) => Some(format!("{transport} {port}")),
        (transport, port) => port.or_else(|| transport.map(str::to_owned)),
    };
    let host = values.address.or(values.destination).map(|address| format!("host {address}"));
    port.into_iter().chain(host).collect::<Vec<_>>().join(" and ")
}

/// Replaces the words for which there is a text. A word is of letters, digits and underscores.
fn by_words(text: &str, mut replace: impl FnMut(&str) -> Option<String>) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_part(c) != is_part(first)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        replaced.push_str(&replace(piece).unwrap_or_else(|| piece.to_owned()));
        rest = after;
    }
    replaced
}

/// Whether a value cannot be taken for an option, and shows what it is.
fn is_safe(value: &str) -> bool {
    !value.is_empty() && !value.starts_with('-') && !value.chars().any(is_hidden)
}

/// The text as one word of a shell.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Values {
        Values {
            entrance: Entrance::Name("web".into()),
            netns: Some("web".into()),
            interface: Some("eth0".into()),
            destination: "10.71.2.2".parse().ok(),
            destination_port: Some(8125),
            filter: "reason SOCKET_RCVBUFF and netns web".into(),
            ..Values::default()
        }
    }

    fn text(template: &str, values: &Values) -> String {
        fill(template, values).text
    }

    #[test]
    fn values_replace_capitals() {
        for (template, expected) in [
            ("ip netns exec NETNS ss -uanmp{ sport = :DPORT}", "ip netns exec web ss -uanmp sport = :8125"),
            ("ip netns exec NETNS ss -tin{ sport = :SPORT}", "ip netns exec web ss -tin"),
            (
                "ip netns exec NETNS tcpdump -vni IFACE tcp port PORT",
                "ip netns exec web tcpdump -vni eth0 tcp port 8125",
            ),
            ("ip netns exec NETNS ip route get ADDRESS", "ip netns exec web ip route get 10.71.2.2"),
            ("droptrace rule --netns NETNS", "droptrace rule --netns web port 8125 and host 10.71.2.2"),
            ("dmesg | grep PF_CAN", "dmesg | grep PF_CAN"),
            (
                "droptrace trace --interface IFACE --count 20",
                "droptrace trace --count 20 'reason SOCKET_RCVBUFF and netns web'",
            ),
            ("droptrace explain SOCKET_RCVBUFF", "droptrace explain SOCKET_RCVBUFF"),
        ] {
            assert_eq!(fill(template, &row()), Command { text: expected.into(), missing: vec![] }, "{template}");
        }
    }

    #[test]
    fn rule_takes_what_is_known_of_the_packet() {
        let rule = |values: &Values| text("droptrace rule --netns NETNS", values);
        let udp = Values { transport: Some("udp"), ..row() };
        assert_eq!(rule(&udp), "droptrace rule --netns web udp port 8125 and host 10.71.2.2");
        let icmp = Values { transport: Some("icmp"), destination_port: None, destination: None, ..row() };
        assert_eq!(rule(&icmp), "droptrace rule --netns web icmp");
        let nothing = Values { netns: Some("web".into()), ..Values::default() };
        assert_eq!(rule(&nothing), "droptrace rule --netns web");
    }

    #[test]
    fn unknown_values_are_named() {
        let command = fill("ip netns exec NETNS ip route get DESTINATION from SOURCE iif IFACE", &Values::default());
        assert_eq!(command.text, "ip netns exec NETNS ip route get DESTINATION from SOURCE iif IFACE");
        assert_eq!(command.missing, ["NETNS", "DESTINATION", "SOURCE", "IFACE"]);
        assert_eq!(text("droptrace trace --count 20", &Values::default()), "droptrace trace --count 20");
    }

    #[test]
    fn namespace_is_entered_by_what_leads_to_it() {
        let enter = |entrance| text("ip netns exec NETNS ss -lnt", &Values { entrance, ..Values::default() });
        assert_eq!(enter(Entrance::Own), "ss -lnt");
        assert_eq!(inside(&Entrance::Own, "nft list chain ip PORT IFACE"), "nft list chain ip PORT IFACE");
        assert_eq!(inside(&Entrance::Name("web".into()), "nft list ruleset"), "ip netns exec web nft list ruleset");
        assert_eq!(enter(Entrance::Process(7)), "nsenter -t 7 -n ss -lnt");
        assert_eq!(enter(Entrance::File("/proc/7/fd/3".into())), "nsenter --net=/proc/7/fd/3 ss -lnt");
        let gone = Values { entrance: Entrance::Unknown, ..row() };
        let command = fill("ip netns exec NETNS ss -lnt", &gone);
        assert_eq!((&*command.text, &*command.missing), ("ip netns exec NETNS ss -lnt", &["NETNS"][..]));
    }

    #[test]
    fn hostile_names_stay_one_word() {
        let named = |name: &str| Values { interface: Some(name.into()), ..row() };
        let template = "ip netns exec NETNS ip link show dev IFACE";
        assert_eq!(text(template, &named("a;reboot")), "ip netns exec web ip link show dev 'a;reboot'");
        assert_eq!(text(template, &named("it's")), r"ip netns exec web ip link show dev 'it'\''s'");
        assert_eq!(text(template, &named("PORT")), "ip netns exec web ip link show dev PORT");
        for hidden in ["-n", "a\x1b[2J", "\u{202e}x", ""] {
            assert_eq!(fill(template, &named(hidden)).missing, ["IFACE"], "{hidden:?}");
        }
        let entrance = Entrance::Name("x\ny".into());
        assert_eq!(
            text("ip netns exec NETNS ss -s", &Values { entrance, ..Values::default() }),
            "ip netns exec NETNS ss -s"
        );
    }
}
