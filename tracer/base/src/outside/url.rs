//! Addresses of servers.

use ureq::http::uri::Authority;

/// Returns whether the port, if the address has one, is valid. Other code treats an invalid port as absent, and would
/// then query another server.
pub fn has_valid_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let server = text.rsplit_once('@').map_or(text, |(_, server)| server);
    match server.strip_prefix(authority.host()).unwrap_or(server).strip_prefix(':') {
        None | Some("") => true,
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_beyond_65535_are_invalid() {
        let is_valid = |authority: &str| has_valid_port(&authority.parse().unwrap());
        for valid in
            ["a", "a:1", "a:65535", "a:", "[::1]", "[::1]:9090", "127.0.0.1:80", "user:word@a:80", "user:99999@a"]
        {
            assert!(is_valid(valid), "{valid}");
        }
        for wrong in ["a:0", "a:65536", "a:99999", "[::1]:65536", "127.0.0.1:184467440737095516160", "user@a:70000"] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }
}
