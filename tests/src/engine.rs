//! An engine that knows 40 agents, without agents and without an engine: it answers the queries of `droptrace-fleet` as
//! Prometheus does.

use std::fmt::Write as _;

use crate::collector::Request;

/// The number of agents.
pub const HOSTS: u32 = 40;
/// The end of the range, in seconds since the Unix epoch, at which its drops are new.
pub const END: &str = "1000000000";
/// The engine's clock.
const NOW: f64 = 1_000_000_000.5;

/// A form's field.
pub fn field(request: &Request, name: &str) -> String {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let value = body.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    let (mut text, value) = (String::new(), value.unwrap_or_default().replace('+', " "));
    let mut parts = value.split('%');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        text.push(u8::from_str_radix(digits, 16).map_or('?', char::from));
        text.push_str(rest);
    }
    text
}

/// Labels and values of the series that answer a query.
fn series(request: &Request, is_faulty: bool) -> Vec<(String, f64)> {
    let query = field(request, "query");
    if query == "vector(time())" {
        return vec![(String::new(), NOW)];
    }
    let is_recent = field(request, "time").starts_with(END);
    let each = |labels: &str, value: &dyn Fn(u32) -> f64| -> Vec<_> {
        (0..HOSTS).map(|host| (format!(r#""job":"d","instance":"h{host}"{labels}"#), value(host))).collect()
    };
    if query.starts_with("droptrace_host_info") {
        let rack = |host: u32| if host < 20 { "one" } else { "other" };
        let mut all = each("", &|_| 1.0);
        (0..).zip(&mut all).for_each(|(host, series)| _ = write!(series.0, r#","rack":"{}""#, rack(host)));
        return all;
    }
    if query.starts_with("max_over_time(") {
        let least = query.rsplit_once(">= ").and_then(|(_, least)| least.parse::<f64>().ok()).unwrap_or(f64::MAX);
        let storm = (r#""job":"d","instance":"h3","reason":"SOCKET_RCVBUFF","subsystem":"core""#.to_owned(), 6e6);
        return if is_faulty && least <= storm.1 { vec![storm] } else { vec![] };
    }
    let about = |host: u32| f64::from(9_000 + host % 7 * 100);
    let no_socket = |host| if is_faulty && host < 20 { 100.0 * about(host) } else { about(host) };
    let rcvbuff = |host| if is_faulty && host == 7 { 1e6 } else { about(host) };
    let netfilter = |host| if is_faulty && is_recent { 100.0 * about(host) } else { about(host) };
    if query.starts_with("sum by (") && query.contains("last_over_time(droptrace_dropped_packets_total") {
        let of = |reason: &str| format!(r#","reason":"{reason}","subsystem":"core""#);
        let drops = [
            each(&of("NO_SOCKET"), &no_socket),
            each(&of("SOCKET_RCVBUFF"), &rcvbuff),
            each(&of("NETFILTER_DROP"), &netfilter),
        ];
        return drops.concat();
    }
    if query.starts_with("(sum by (job,instance) (droptrace_dropped_packets_total") {
        return each("", &|host| no_socket(host) + rcvbuff(host) + netfilter(host));
    }
    // Agents that run throughout, and agents that were scraped.
    let is_about_agents = query.starts_with("((") || query.starts_with("max by (job,instance) (timestamp(");
    if is_about_agents { each("", &|_| 1.0) } else { vec![] }
}

/// The answer of a fleet with faults, or of a healthy one, in which nothing is found.
pub fn answered(request: &Request, is_faulty: bool) -> Vec<u8> {
    let series: Vec<_> = series(request, is_faulty)
        .into_iter()
        .map(|(labels, value)| format!(r#"{{"metric":{{{labels}}},"value":[1,"{value}"]}}"#))
        .collect();
    let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, series.join(","));
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
