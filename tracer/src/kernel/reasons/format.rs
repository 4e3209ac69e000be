//! Core reasons from the `format` file of the tracepoint `skb:kfree_skb`, where they stand for printing.

/// Where tracefs is mounted, if it is.
const PATHS: [&str; 2] =
    ["/sys/kernel/tracing/events/skb/kfree_skb/format", "/sys/kernel/debug/tracing/events/skb/kfree_skb/format"];

/// The text of the file; empty where it cannot be read.
pub(super) fn read() -> String {
    PATHS.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
}

/// Numbers and names: `__print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 3, "NO_SOCKET" }, …)`. Empty where the
/// tracepoint gives no reason. Pairs that make no sense are left out.
pub(super) fn parse(text: &str) -> Vec<(u32, &str)> {
    let Some((_, pairs)) = text.split_once("__print_symbolic(REC->reason,") else { return Vec::new() };
    let pairs = pairs.split_once(')').map_or(pairs, |(pairs, _)| pairs);
    pairs.split('{').filter_map(parse_pair).collect()
}

/// ` 2, "NOT_SPECIFIED" }, `
fn parse_pair(text: &str) -> Option<(u32, &str)> {
    let (value, rest) = text.split_once(',')?;
    let (_, rest) = rest.split_once('"')?;
    let (name, _) = rest.split_once('"')?;
    Some((value.trim().parse().ok()?, name))
}
