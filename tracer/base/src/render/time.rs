//! Points in time as text: RFC 3339 in UTC, always with nine digits of the second, so that text order is time order.

use serde::{Serialize, Serializer};

use crate::domain::event::Timestamp;

const NANOS: u64 = 1_000_000_000;
const TEMPLATE: [u8; 30] = *b"0000-00-00T00:00:00.000000000Z";

/// `2026-01-01T00:00:00.000000000Z`.
#[derive(Clone, Copy)]
pub struct TimeText([u8; 30]);

impl TimeText {
    /// The text of a point in time.
    pub fn new(timestamp: Timestamp) -> Self {
        let (seconds, nanos) = (timestamp.0 / NANOS, timestamp.0 % NANOS);
        let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil_from_days(days);
        let mut text = TEMPLATE;
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], second_of_day / 3600);
        digits(&mut text[14..16], second_of_day / 60 % 60);
        digits(&mut text[17..19], second_of_day % 60);
        digits(&mut text[20..29], nanos);
        Self(text)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// `00:00:00.000000000`.
    pub fn time_of_day(&self) -> &str {
        self.as_str().get(11..29).unwrap_or_default()
    }

    /// `2026-01-01`.
    pub fn date(&self) -> &str {
        self.as_str().get(..10).unwrap_or_default()
    }
}

impl Serialize for TimeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Year, month (1 to 12) and day (1 to 31) of a day since 1970-01-01, after Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>): years start in March, so that the leap
/// day comes last.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

fn digits(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_points() {
        let text = |nanos| TimeText::new(Timestamp(nanos)).as_str().to_owned();
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_399 * NANOS + 999_999_999), "2000-02-28T23:59:59.999999999Z");
        assert_eq!(text(951_782_400 * NANOS), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(text(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn parts() {
        let text = TimeText::new(Timestamp(1_767_225_600 * NANOS + 7));
        assert_eq!((text.date(), text.time_of_day()), ("2026-01-01", "00:00:00.000000007"));
    }

    proptest! {
        #[test]
        fn as_humantime_has_it(nanos in any::<u64>()) {
            let timestamp = Timestamp(nanos);
            let expected = humantime::format_rfc3339_nanos(SystemTime::from(timestamp)).to_string();
            prop_assert_eq!(TimeText::new(timestamp).as_str().to_owned(), expected);
        }
    }
}
