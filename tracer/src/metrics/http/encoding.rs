//! The encoding of an answer: gzip for clients that accept it.

use std::io::Write as _;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;

/// A text that is compressed once, on the first request for the compressed form.
#[derive(Clone, Debug)]
pub(super) struct Text {
    plain: Bytes,
    /// `None` if the text could not be compressed.
    gzip: OnceLock<Option<Bytes>>,
}

impl Text {
    pub(super) fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    pub(super) fn gzip(&self) -> Option<Bytes> {
        let compressed = || compressed(&self.plain).inspect_err(|error| tracing::debug!("gzip: {error}")).ok();
        self.gzip.get_or_init(compressed).clone()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { plain: text.into(), gzip: OnceLock::new() }
    }
}

fn compressed(text: &[u8]) -> std::io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text)?;
    gzip.finish().map(Bytes::from)
}

/// A quality value in thousandths, as in RFC 9110 (12.4.2).
type Weight = u16;

/// Returns whether gzip is wanted according to the header `Accept-Encoding`: it is accepted, and plain text is not
/// preferred.
pub(super) fn is_gzip_accepted(accept: &str) -> bool {
    let weight_of = |names: &[&str]| {
        let mut codings = accept.split(',').filter_map(coding);
        codings.find(|(name, _)| names.iter().any(|each| each.eq_ignore_ascii_case(name))).map(|(_, weight)| weight)
    };
    let gzip = weight_of(&["gzip", "x-gzip"]).or_else(|| weight_of(&["*"])).unwrap_or(0);
    gzip > 0 && gzip >= weight_of(&["identity"]).unwrap_or(0)
}

/// A coding and its quality value; `None` if the value is invalid.
fn coding(part: &str) -> Option<(&str, Weight)> {
    let mut parameters = part.split(';').map(str::trim);
    let name = parameters.next()?;
    let weight = match parameters.next() {
        None => 1000,
        Some(parameter) => {
            let (q, value) = parameter.split_once('=')?;
            weight(value).filter(|_| q.eq_ignore_ascii_case("q"))?
        }
    };
    Some((name, weight))
}

fn weight(text: &str) -> Option<Weight> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: Weight = format!("{fraction:0<3}").parse().ok().filter(|_| is_number)?;
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gzip_is_for_those_that_accept_it() {
        for accept in [
            "gzip",
            "GZip",
            "x-gzip",
            "deflate, gzip;q=1.0, *;q=0.5",
            "gzip;q=0.001",
            "gzip ; Q=0.5",
            "br;q=1.0, gzip;q=0.2",
            "*",
            "*;q=0.5",
            "identity;q=0.5, gzip",
            "identity;q=0, *",
            "gzip, identity",
        ] {
            assert!(is_gzip_accepted(accept), "{accept}");
        }
        for accept in [
            "",
            "identity",
            "deflate, br",
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=0, *",
            "x-gzip;q=0",
            "*;q=0",
            "gzip;q=0.2, identity",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=-1",
            "gzip;q=nan",
            "gzip;q=0.0001",
            "gzip;q=.5",
            "gzip;q",
            "gzip;level=9",
            "gzipped",
            ",;,",
        ] {
            assert!(!is_gzip_accepted(accept), "{accept}");
        }
    }

    #[test]
    fn a_text_is_compressed_once() {
        let text = Text::from("droptrace_dropped_packets_total{reason=\"NO_SOCKET\"} 7\n".repeat(500));
        let (first, second) = (text.gzip().unwrap(), text.gzip().unwrap());
        assert_eq!(first.as_ptr(), second.as_ptr());
        assert!(first.len() * 20 < text.plain().len(), "{} of {}", first.len(), text.plain().len());
    }

    proptest! {
        #[test]
        fn any_header_is_read_and_any_text_comes_back(accept in ".*", text in ".*") {
            _ = is_gzip_accepted(&accept);
            let gzip = Text::from(text.clone()).gzip().unwrap();
            let mut back = String::new();
            GzDecoder::new(&gzip[..]).read_to_string(&mut back).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
