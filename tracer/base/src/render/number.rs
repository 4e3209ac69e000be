//! Numbers for people. Counts are never rounded.

use std::fmt;
use std::time::Duration;

/// A count with a comma after each three digits, as `perf stat` groups them.
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 20 digits and 6 commas.
        let mut text = [b','; 26];
        let (mut at, mut rest, mut written) = (text.len(), self.0, 0);
        loop {
            at -= 1 + usize::from(written > 0 && written % 3 == 0);
            text[at] = b'0' + (rest % 10) as u8;
            (rest, written) = (rest / 10, written + 1);
            if rest == 0 {
                break;
            }
        }
        f.pad(str::from_utf8(&text[at..]).unwrap_or_default())
    }
}

/// A number, with the greatest number that it may be where the two differ: `1,200..1,350`.
pub fn range(least: u64, most: Option<u64>) -> String {
    match most.filter(|most| *most != least) {
        Some(most) => format!("{}..{}", Grouped(least), Grouped(most)),
        None => Grouped(least).to_string(),
    }
}

/// Packets per second: whole from ten on, one decimal below.
pub fn rate(value: f64) -> String {
    match value {
        // This condition keeps numbers just below ten from being shown as `10.0`.
        9.95.. => Grouped(whole(value)).to_string(),
        0.05.. => format!("{value:.1}"),
        _ if value > 0.0 => "<0.1".to_owned(),
        _ => "0".to_owned(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded positive rate; casts saturate")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A time span in seconds.
pub fn seconds(span: Duration) -> String {
    let decimals = if span < Duration::from_secs(10) { 3 } else { 1 };
    format!("{:.decimals$} s", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (999_999, "999,999"),
            (1_000_000, "1,000,000"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (count, expected) in cases {
            assert_eq!(Grouped(count).to_string(), expected);
        }
        assert_eq!(format!("{:>7}", Grouped(1000)), "  1,000");
    }

    #[test]
    fn rates_are_rounded() {
        let cases = [(0.0, "0"), (0.01, "<0.1"), (0.25, "0.2"), (9.94, "9.9"), (9.96, "10"), (123_456.7, "123,457")];
        for (value, expected) in cases {
            assert_eq!(rate(value), expected);
        }
    }

    #[test]
    fn spans() {
        assert_eq!(seconds(Duration::from_millis(1002)), "1.002 s");
        assert_eq!(seconds(Duration::from_millis(90_040)), "90.0 s");
    }
}
