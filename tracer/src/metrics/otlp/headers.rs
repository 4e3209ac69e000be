//! Headers of requests, such as a token. They are read from a file, because users who can see a process can see its
//! arguments.

use thiserror::Error;
use ureq::http::{HeaderName, HeaderValue};

/// The error of an invalid line. It does not contain the line, which may be a secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum HeadersError {
    /// The line is not of the form `Name: value`.
    #[error("line {0} is not of the form `Name: value`")]
    NoHeader(usize),
    /// The header would change the meaning of the request.
    #[error("line {0} names a header that droptrace sets itself")]
    Reserved(usize),
}

/// Parses headers from lines of the form `Name: value`; empty lines and those that start with `#` are ignored.
pub(crate) fn parse(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, HeadersError> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|(line, number)| header(line, number)).collect()
}

fn header(line: &str, number: usize) -> Result<(HeaderName, HeaderValue), HeadersError> {
    let no_header = HeadersError::NoHeader(number);
    let (name, value) = line.split_once(':').ok_or(no_header)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| no_header)?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| no_header)?;
    value.set_sensitive(true);
    match name.as_str() {
        "connection" | "content-encoding" | "content-length" | "content-type" | "expect" | "host"
        | "transfer-encoding" => Err(HeadersError::Reserved(number)),
        _ => Ok((name, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_headers_that_are_not_shown() {
        let headers = parse("# who we are\n\nAuthorization: Bearer a:b\r\nX-Scope-OrgID:lab\n").unwrap();
        let shown: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(shown, [("authorization", "Bearer a:b"), ("x-scope-orgid", "lab")]);
        assert!(!format!("{headers:?}").contains("Bearer"));
    }

    #[test]
    fn error_of_invalid_header_has_the_line_number() {
        assert_eq!(parse("a: b\nsecret"), Err(HeadersError::NoHeader(2)));
        assert_eq!(parse("a b: c"), Err(HeadersError::NoHeader(1)));
        assert_eq!(parse("a: b\u{7}"), Err(HeadersError::NoHeader(1)));
        assert_eq!(parse("\n#\nHost: elsewhere"), Err(HeadersError::Reserved(3)));
    }
}
