//! The filter that selects the drops of a row, and the command that shows them.

use crate::domain::event::{NamedKey, reason_name};
use crate::domain::owner::Owner;
use crate::explain::quoted;
use crate::filter::Filter;

/// The options of the run that select drops.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The filter in the kernel.
    pub filter: Option<String>,
    /// `--netns`.
    pub netns: Option<String>,
    /// `--interface`.
    pub interface: Option<String>,
    /// The options of a time that is over, with their values: `--since`, `--until`, `--history`.
    pub past: Vec<(&'static str, String)>,
}

/// `droptrace trace 'reason NO_SOCKET and netns web'`. A value that filters cannot name is left out, so that the command may
/// show further drops. `has_sockets`: the owner of the row is that of packets' sockets.
pub fn command(key: &NamedKey, has_sockets: bool, selection: &Selection) -> String {
    selected("droptrace trace".into(), key, has_sockets, selection)
}

/// `droptrace trace -w no_socket.pcapng --count 1000 'reason NO_SOCKET and netns web'`: the next packets of a row as a capture.
pub fn capture_command(key: &NamedKey, has_sockets: bool, selection: &Selection) -> String {
    let reason = reason_name(&key.reason).unwrap_or_default();
    let is_plain = !reason.is_empty() && reason.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let file = if is_plain { reason.to_lowercase() } else { "drops".into() };
    selected(format!("droptrace trace -w {file}.pcapng --count 1000"), key, has_sockets, selection)
}

/// A command with what selects the drops of a row.
fn selected(mut command: String, key: &NamedKey, has_sockets: bool, selection: &Selection) -> String {
    let past = selection.past.iter().map(|(option, value)| (*option, Some(value)));
    let options = [("--netns", selection.netns.as_ref()), ("--interface", selection.interface.as_ref())];
    for (option, value) in past.chain(options) {
        if let Some(value) = value {
            command = format!("{command} {option} {}", quoted(value));
        }
    }
    let mut conditions: Vec<String> = selection.filter.iter().map(|filter| format!("({filter})")).collect();
    // What an option selects already needs no condition.
    let is_new = |condition: &String| {
        let is_of = |word, option: &Option<String>| option.is_some() && condition.starts_with(word);
        !is_of("netns ", &selection.netns) && !is_of("iface ", &selection.interface)
    };
    let of_row = of_key(key, has_sockets).into_iter().filter(is_new);
    conditions.extend(of_row.filter(|condition| is_filter(condition)));
    if conditions.is_empty() {
        return command;
    }
    // A condition in parentheses that is alone needs none.
    let filter = match (&*conditions, &selection.filter) {
        ([_], Some(filter)) => filter.clone(),
        _ => conditions.join(" and "),
    };
    format!("{command} {}", quoted(&filter))
}

/// `reason NO_SOCKET and netns web`, as [`command`] has it; empty where nothing of the row is known.
pub fn filter_of(key: &NamedKey, has_sockets: bool) -> String {
    let known = of_key(key, has_sockets).into_iter().filter(|condition| is_filter(condition));
    known.collect::<Vec<_>>().join(" and ")
}

fn of_key(key: &NamedKey, has_sockets: bool) -> Vec<String> {
    let word = |word: &str, value: Option<&str>| value.map(|value| format!("{word} {value}"));
    let inode = (key.netns != 0).then(|| key.netns.to_string());
    let nobody = Owner::default();
    let owner = if has_sockets { &*key.owner } else { &nobody };
    let named = owner.pod.is_some() || owner.container.is_some();
    let conditions = [
        word("reason", reason_name(&key.reason)),
        word("site", key.location.symbol.as_ref().map(|symbol| &*symbol.name)),
        word("iface", key.interface.as_deref()),
        word("netns", key.netns_name.as_deref().or(inode.as_deref())),
        word("pod", owner.pod.as_deref()),
        word("container", owner.container.as_deref()),
        word("cgroup", owner.cgroup.as_deref().filter(|_| !named)),
    ];
    conditions.into_iter().flatten().chain(protocol(key)).chain(of_flow(key)).collect()
}

fn protocol(key: &NamedKey) -> Option<String> {
    Some(match key.protocol {
        0 => return None,
        0x0800 => "ip".into(),
        0x0806 => "arp".into(),
        0x86dd => "ip6".into(),
        other => format!("ether proto {other}"),
    })
}

fn of_flow(key: &NamedKey) -> Vec<String> {
    let Some(flow) = &key.flow else { return vec![] };
    let transport = match flow.transport {
        Some(6) => Some("tcp".into()),
        Some(17) => Some("udp".into()),
        _ => None,
    };
    let conditions = [
        flow.source.map(|address| format!("src host {address}")),
        flow.source_port.map(|port| format!("src port {port}")),
        flow.destination.map(|address| format!("dst host {address}")),
        flow.destination_port.map(|port| format!("dst port {port}")),
    ];
    transport.into_iter().chain(conditions.into_iter().flatten()).collect()
}

/// Whether a condition means what it says: names from the kernel may have blanks, quotes and words of the language.
pub(super) fn is_filter(condition: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " _-.:/@*".contains(c);
    condition.chars().all(is_plain) && condition.split(' ').count() <= 3 && Filter::parse(condition).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::event::{Location, Reason, Symbol};

    fn key(netns: &str) -> NamedKey {
        let symbol = Symbol { name: "udp_rcv".into(), offset: 0x1a7, module: None };
        NamedKey {
            reason: Arc::new(Reason { value: Some(3), subsystem: "core".into(), name: "NO_SOCKET".into() }),
            location: Arc::new(Location { address: 1, symbol: Some(symbol), trap_group: None }),
            protocol: 0x0800,
            interface: Some("eth0".into()),
            netns_name: Some(netns.into()),
            ..NamedKey::default()
        }
    }

    #[test]
    fn command_selects_the_row() {
        let selection = Selection::default();
        let line = command(&key("web"), false, &selection);
        assert_eq!(line, "droptrace trace 'reason NO_SOCKET and site udp_rcv and iface eth0 and netns web and ip'");
        let selection = Selection {
            filter: Some("tcp or udp".into()),
            netns: Some("web".into()),
            interface: Some("it's".into()),
            past: vec![],
        };
        let owner = Owner { container: Some("nginx".into()), pod: Some("shop/web-1".into()), ..Owner::default() };
        let of_pod = NamedKey { owner: owner.into(), ..key("shop") };
        let line = command(&of_pod, true, &selection);
        assert!(
            line.starts_with(r"droptrace trace --netns web --interface 'it'\''s' '(tcp or udp) and reason"),
            "{line}"
        );
        assert!(line.contains(" and pod shop/web-1 and container nginx"), "{line}");
        assert!(!line.contains("iface") && !line.contains("and netns"), "the options select them: {line}");
        let of_resident = command(&of_pod, false, &selection);
        assert!(!of_resident.contains("pod"), "a resident is no owner of sockets: {of_resident}");
        let line = capture_command(&key("web"), false, &Selection::default());
        assert!(
            line.starts_with("droptrace trace -w no_socket.pcapng --count 1000 'reason NO_SOCKET and site"),
            "{line}"
        );
        let nothing = Selection { filter: Some("tcp".into()), ..Selection::default() };
        assert_eq!(command(&NamedKey::default(), false, &nothing), "droptrace trace tcp");
    }

    #[test]
    fn hostile_names_are_no_part_of_a_command() {
        for name in ["a b", "x' ; reboot '", "a\x1b[2J", "\u{202e}x", "a)"] {
            let mut hostile = key(name);
            hostile.interface = Some(name.into());
            hostile.reason = Arc::new(Reason { name: name.into(), ..(*hostile.reason).clone() });
            let line = command(&hostile, false, &Selection::default());
            assert_eq!(line, "droptrace trace 'site udp_rcv and ip'", "{name:?}");
            let line = capture_command(&hostile, false, &Selection::default());
            assert_eq!(line, "droptrace trace -w drops.pcapng --count 1000 'site udp_rcv and ip'", "{name:?}");
        }
    }
}
