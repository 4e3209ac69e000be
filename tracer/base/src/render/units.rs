//! Parses values with units from the command line.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// At shorter intervals, reading the totals would cost more than it is worth.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// `bpf_map_create` takes the size of a ring buffer as a `u32`, and it has to be a power of two.
const LARGEST_RING: u64 = 1 << 31;

/// Parses a time span greater than zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text)
        .map_err(|_| "not a time span: write a number and its unit, such as 10s, 1m30s or 500ms".to_owned())?;
    if span.is_zero() { Err("a time span must be greater than zero, such as 10s".into()) } else { Ok(span) }
}

/// Parses a whole number within bounds.
pub fn number<T>(bounds: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| format!("write a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// Parses a whole number greater than zero, as the `NonZero` type `T`.
pub fn positive<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "write a whole number greater than zero".to_owned())
}

/// Parses a number of things to show.
pub fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a whole number, or 0 for all".to_owned())
}

/// Parses the address of a server.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, as 127.0.0.1:23870, 0.0.0.0:23870 or [::1]:23870".into())
}

/// Parses a time span between two readings.
pub fn interval(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    if span < SHORTEST_INTERVAL { Err("the shortest interval is 10ms".into()) } else { Ok(span) }
}

/// Parses the size of a ring buffer in bytes, as `8M`, `64K`, `64KiB` or `65536`.
pub fn ring_size(text: &str) -> Result<u32, String> {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    ring_size_for(text, page)
}

fn ring_size_for(text: &str, page: u64) -> Result<u32, String> {
    let size = bytes(text).ok_or("not a number of bytes: write it as 8M, 64K or 65536")?;
    if size < page {
        return Err(format!("too small: a ring buffer takes at least a page, {}", Bytes(page)));
    }
    if size > LARGEST_RING {
        return Err(format!("too large: the kernel takes at most {}", Bytes(LARGEST_RING)));
    }
    if !size.is_power_of_two() {
        let above = size.next_power_of_two();
        return Err(format!("not a power of two: the next ones are {} and {}", Bytes(above / 2), Bytes(above)));
    }
    u32::try_from(size).map_err(|error| error.to_string())
}

/// Parses a number of bytes, at least `least`, as `256M`, `1G` or `67108864`.
pub fn size(text: &str, least: u64) -> Result<u64, String> {
    let size = bytes(text).ok_or("not a number of bytes: write it as 256M, 1G or 67108864")?;
    if size < least { Err(format!("too small: the least is {}", Bytes(least))) } else { Ok(size) }
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

struct Bytes(u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            size if size % (1 << 30) == 0 => write!(f, "{}G", size >> 30),
            size if size % (1 << 20) == 0 => write!(f, "{}M", size >> 20),
            size if size % (1 << 10) == 0 => write!(f, "{}K", size >> 10),
            size => write!(f, "{size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn time_spans() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        for text in ["abc", "10", "", "-1s", "1.5", "99999999999999999999s"] {
            assert!(duration(text).unwrap_err().contains("such as 10s, 1m30s or 500ms"), "{text}");
        }
        assert_eq!(duration("0s").unwrap_err(), "a time span must be greater than zero, such as 10s");
        assert_eq!(interval("1ms").unwrap_err(), "the shortest interval is 10ms");
    }

    #[test]
    fn numbers_without_a_limit() {
        assert_eq!((positive("7"), count("0")), (Ok(NonZeroU8::new(7).unwrap()), Ok(0)));
        for text in ["0", "-1", "x", "", "256"] {
            assert_eq!(positive::<NonZeroU8>(text).unwrap_err(), "write a whole number greater than zero", "{text}");
        }
        for text in ["-1", "x", "", "1.5"] {
            assert_eq!(count(text).unwrap_err(), "write a whole number, or 0 for all", "{text}");
        }
    }

    #[test]
    fn ring_sizes() {
        let size = |text| ring_size_for(text, 4096);
        for (text, expected) in
            [("8M", 8 << 20), ("64K", 64 << 10), ("64 kib", 64 << 10), ("4096", 4096), ("2G", 1 << 31), ("4096b", 4096)]
        {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("5M", "not a power of two: the next ones are 4M and 8M"),
            ("12345", "not a power of two: the next ones are 8K and 16K"),
            ("2K", "too small: a ring buffer takes at least a page, 4K"),
            ("0", "too small: a ring buffer takes at least a page, 4K"),
            ("4G", "too large: the kernel takes at most 2G"),
            ("8MB", "not a number of bytes: write it as 8M, 64K or 65536"),
            ("", "not a number of bytes: write it as 8M, 64K or 65536"),
            ("M", "not a number of bytes: write it as 8M, 64K or 65536"),
            ("99999999999G", "not a number of bytes: write it as 8M, 64K or 65536"),
        ] {
            assert_eq!(size(text).unwrap_err(), expected, "{text}");
        }
    }

    /// arm64 has pages of 4, 16 or 64 KiB.
    #[test]
    fn a_ring_has_a_page_at_least_whatever_its_size() {
        for (page, name) in [(4 << 10, "4K"), (16 << 10, "16K"), (64 << 10, "64K")] {
            assert_eq!(ring_size_for(name, page), Ok(u32::try_from(page).unwrap()));
            assert_eq!(ring_size_for("8M", page), Ok(8 << 20));
            let error = ring_size_for(&(page / 2).to_string(), page).unwrap_err();
            assert_eq!(error, format!("too small: a ring buffer takes at least a page, {name}"));
        }
    }

    #[test]
    fn sizes_have_a_least_value() {
        let size = |text| size(text, 16 << 20);
        assert_eq!((size("16M"), size("1G")), (Ok(16 << 20), Ok(1 << 30)));
        assert_eq!(size("15M").unwrap_err(), "too small: the least is 16M");
        assert_eq!(size("much").unwrap_err(), "not a number of bytes: write it as 256M, 1G or 67108864");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_is_an_error(text in "\\PC{0,12}") {
            _ = duration(&text);
            if let Ok(size) = ring_size_for(&text, 4096) {
                prop_assert!(size.is_power_of_two() && size >= 4096);
            }
        }
    }
}
