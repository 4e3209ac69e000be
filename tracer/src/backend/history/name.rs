//! The names of a history's files: `drops-20261130T02-000.dth` is the first file of the hour from 02:00 UTC on.

use std::fmt;
use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

use crate::domain::event::Timestamp;
use crate::render::time::TimeText;

const HOUR_NS: u64 = 3_600_000_000_000;

/// The name of a file. The order is that of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    /// The hour in which the file was begun: hours since the Unix epoch.
    pub(super) hour: u64,
    /// The number of the file within the hour.
    pub(super) part: u16,
}

impl FileName {
    /// The hour of a moment.
    pub(super) const fn hour_of(time: Timestamp) -> u64 {
        time.0 / HOUR_NS
    }

    /// Reads a name. `None` for all names that this version does not write.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let inner = name.strip_prefix("drops-")?.strip_suffix(".dth")?;
        let number = |from: usize, to: usize| {
            let digits = inner.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            digits.parse::<i16>().ok()
        };
        let [month, day, hour] =
            [(4, 6), (6, 8), (9, 11)].map(|(from, to)| number(from, to).and_then(|it| i8::try_from(it).ok()));
        let date = civil::DateTime::new(number(0, 4)?, month?, day?, hour?, 0, 0, 0).ok()?;
        let seconds = TimeZone::UTC.to_timestamp(date).ok()?.as_second();
        let name_of = Self { hour: u64::try_from(seconds).ok()? / 3_600, part: u16::try_from(number(12, 15)?).ok()? };
        (name_of.to_string() == name).then_some(name_of)
    }

    /// Whether all times of the file are at least so long ago. A file whose hour is so far in the future is from a time at which
    /// the clock was wrong, and counts as old.
    pub(super) fn is_older_than(self, age: Duration, now: Timestamp) -> bool {
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let (from, to) = (self.hour.saturating_mul(HOUR_NS), (self.hour + 1).saturating_mul(HOUR_NS));
        to.saturating_add(age) <= now.0 || from > now.0.saturating_add(HOUR_NS).saturating_add(age)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = TimeText::new(Timestamp(self.hour.saturating_mul(HOUR_NS)));
        let (date, hour) = (time.date().replace('-', ""), &time.time_of_day()[..2]);
        write!(f, "drops-{date}T{hour}-{:03}.dth", self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YEAR: u64 = 1_767_225_600_000_000_000;

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = FileName { hour: NEW_YEAR / HOUR_NS + 2, part: 7 };
        assert_eq!(name.to_string(), "drops-20260101T02-007.dth");
        assert_eq!(FileName::parse("drops-20260101T02-007.dth"), Some(name));
        for other in [
            "drops-20260101T02-007.dth~",
            "drops-20260101T02-7.dth",
            "drops-20260101T24-007.dth",
            "drops-20261301T02-007.dth",
            "drops-20260101x02-007.dth",
            "drops-20260101T02x007.dth",
            "drops-2026é101T02-007.dth",
            "drops-+0260101T02-007.dth",
            "20260101T02-007.dth",
            "lost+found",
            "",
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn file_is_old_when_its_last_moment_is() {
        let (day, name) = (Duration::from_hours(24), FileName { hour: NEW_YEAR / HOUR_NS, part: 0 });
        let old = |after: u64| name.is_older_than(day, Timestamp(NEW_YEAR + after * HOUR_NS));
        assert_eq!([old(0), old(24), old(25)], [false, false, true]);
        let before = |hours: u64| name.is_older_than(day, Timestamp(NEW_YEAR - hours * HOUR_NS));
        assert_eq!([before(25), before(26)], [false, true], "of a clock that was set back");
    }
}
