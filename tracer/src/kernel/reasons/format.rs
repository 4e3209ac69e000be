//! Core reasons from the `format` file of the tracepoint `skb:kfree_skb`, which contains their names for printing.

/// The paths of the file below the usual mount points of tracefs.
const PATHS: [&str; 2] =
    ["/sys/kernel/tracing/events/skb/kfree_skb/format", "/sys/kernel/debug/tracing/events/skb/kfree_skb/format"];

/// The text of the file; empty if it cannot be read.
pub(super) fn read() -> String {
    PATHS.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
}

/// Parses numbers and names: `__print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 3, "NO_SOCKET" }, …)`. The result
/// is empty if the tracepoint has no reason. Malformed pairs are left out.
pub(super) fn parse(text: &str) -> Vec<(u32, &str)> {
    let Some((_, pairs)) = text.split_once("__print_symbolic(REC->reason,") else { return Vec::new() };
    let pairs = pairs.split_once(')').map_or(pairs, |(pairs, _)| pairs);
    pairs.split('{').filter_map(parse_pair).collect()
}

/// Parses one pair: ` 2, "NOT_SPECIFIED" }, `.
fn parse_pair(text: &str) -> Option<(u32, &str)> {
    let (value, rest) = text.split_once(',')?;
    let (_, rest) = rest.split_once('"')?;
    let (name, _) = rest.split_once('"')?;
    Some((value.trim().parse().ok()?, name))
}
