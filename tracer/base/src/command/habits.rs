//! Options of other tools, and what droptrace has instead.

/// The option, and the tip.
const HABITS: [(&str, &str); 14] = [
    ("-i", "the interface is a word of the filter, as in 'droptrace stat iface eth0', or '--interface eth0'"),
    ("-I", "the time between two tables is '--interval', as in 'droptrace stat --interval 1s'"),
    ("-n", "droptrace looks up no names of addresses and ports; leave '-n' out"),
    ("-nn", "droptrace looks up no names of addresses and ports; leave '-nn' out"),
    (
        "-p",
        "the process is a word of the filter, as in 'droptrace trace process 1234'; 'droptrace stat --by process' groups",
    ),
    (
        "--pid",
        "the process is a word of the filter, as in 'droptrace trace process 1234'; 'droptrace stat --by process' groups",
    ),
    ("--pcap", "'droptrace trace -w drops.pcapng' writes a packet capture"),
    ("-w", "'droptrace trace -w drops.pcapng' writes a packet capture"),
    ("--reason", "the reason is a word of the filter, as in 'droptrace stat reason NO_SOCKET'"),
    ("--port", "the port is a word of the filter, as in 'droptrace stat port 443'"),
    ("--host", "the host is a word of the filter, as in 'droptrace stat host 192.0.2.1'"),
    ("--pod", "the pod is a word of the filter, as in 'droptrace stat pod web/*'"),
    ("--container", "the container is a word of the filter, as in 'droptrace stat container nginx'"),
    ("--json", "'--format json' writes JSON"),
];

/// The tip for an option that droptrace does not have.
pub(super) fn tip(option: &str) -> Option<&'static str> {
    HABITS.iter().find(|(habit, _)| *habit == option).map(|(_, tip)| *tip)
}
