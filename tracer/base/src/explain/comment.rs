//! Comments on commands of which the output needs a hint. A shell takes them with the command.

/// The comment on a command, in the form of a shell; absent where its output needs none. `is_of_size`: the explanation is about
/// packets that are too big.
pub(super) fn comment(command: &str, is_of_size: bool) -> Option<&'static str> {
    let after = |tool: &str| command.split_once(tool).map(|(_, rest)| rest);
    if let Some(options) = after("ss -") {
        let letters = options.trim_start_matches("6 -").split(' ').next().unwrap_or_default();
        let has = |letter: char| letters.contains(letter);
        return match (has('m'), has('l') && has('t')) {
            (true, _) => Some("# rb: buffer size, d: drops of this socket"),
            (_, true) => Some("# Recv-Q above Send-Q: accept queue full"),
            _ => None,
        };
    }
    if after("ip route get ").is_some_and(|rest| rest.contains(" iif ")) {
        return Some(r#"# "Invalid argument" or "Invalid cross-device link": the reverse path filter refuses it"#);
    }
    let is_link = after("ip link show").is_some() || after("ip -d link show").is_some();
    (is_link && is_of_size).then_some("# mtu below the packet's length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_is_hard_to_read_has_a_hint() {
        let hint = |command| comment(command, true).unwrap_or_default();
        assert!(hint("ip netns exec web ss -uanmp sport = :53").starts_with("# rb: "));
        assert!(hint("ss -6 -ltnp").starts_with("# Recv-Q"));
        assert!(hint("ip route get 192.0.2.1 from 192.0.2.7 iif eth0").contains("reverse path filter"));
        assert!(hint("nsenter -t 7 -n ip link show").starts_with("# mtu"));
        assert_eq!(comment("ip link show", false), None);
        for clear in ["ss -ulnp", "ss -tan", "ip route get 192.0.2.1", "nstat -az IpForwDatagrams"] {
            assert_eq!(hint(clear), "", "{clear}");
        }
    }
}
