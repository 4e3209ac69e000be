//! Addresses of servers.

/// Returns whether the port, if the authority of a URL has one after this host, is valid. Other code treats an invalid
/// port as absent, and would then query another server.
pub fn has_valid_port(authority: &str, host: &str) -> bool {
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    match server.strip_prefix(host).unwrap_or(server).strip_prefix(':') {
        None | Some("") => true,
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_beyond_65535_are_invalid() {
        let valid = [
            ("a", "a"),
            ("a:1", "a"),
            ("a:65535", "a"),
            ("a:", "a"),
            ("[::1]", "[::1]"),
            ("[::1]:9090", "[::1]"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("user:word@a:80", "a"),
            ("user:99999@a", "a"),
        ];
        for (authority, host) in valid {
            assert!(has_valid_port(authority, host), "{authority}");
        }
        let wrong = [
            ("a:0", "a"),
            ("a:65536", "a"),
            ("a:99999", "a"),
            ("[::1]:65536", "[::1]"),
            ("127.0.0.1:184467440737095516160", "127.0.0.1"),
            ("user@a:70000", "a"),
        ];
        for (authority, host) in wrong {
            assert!(!has_valid_port(authority, host), "{authority}");
        }
    }
}
