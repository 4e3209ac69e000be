//! Times of day for people: in UTC, or in the time zone of this process.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::{env, fs};

use jiff::tz::TimeZone;

use crate::domain::event::Timestamp;
use crate::render::time::TimeText;

/// The time zone of this process: the one that `TZ` names, else that of `/etc/localtime`; UTC if neither can be read. A path in
/// `TZ` must be a regular file: to open another one may block.
pub(crate) fn local_zone() -> TimeZone {
    let named = env::var_os("TZ");
    let path = named.as_ref().map(|name| name.as_encoded_bytes()).map(|name| name.strip_prefix(b":").unwrap_or(name));
    let path = path.filter(|name| name.starts_with(b"/")).map(|name| Path::new(OsStr::from_bytes(name)));
    let can_be_read = path.is_none_or(|path| fs::metadata(path).is_ok_and(|found| found.is_file()));
    if can_be_read { TimeZone::system() } else { TimeZone::UTC }
}

/// The time zone of shown times.
pub(super) struct Clock {
    /// Absent for UTC.
    zone: Option<TimeZone>,
}

impl Clock {
    /// UTC, or the time zone of this process.
    pub(super) fn new(is_local: bool) -> Self {
        Self { zone: is_local.then(local_zone) }
    }

    /// The time as this clock shows it. The text ends with `Z` all the same.
    pub(super) fn text(&self, time: Timestamp) -> TimeText {
        let seconds = self.offset(time);
        let nanos = u64::from(seconds.unsigned_abs()) * 1_000_000_000;
        let shifted = if seconds < 0 { time.0.saturating_sub(nanos) } else { time.0.saturating_add(nanos) };
        TimeText::new(Timestamp(shifted))
    }

    /// `UTC`, `UTC+02:00`: the offset at this time.
    pub(super) fn name(&self, time: Timestamp) -> String {
        if self.zone.is_none() {
            return "UTC".into();
        }
        let seconds = self.offset(time);
        let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
        format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Seconds east of UTC, which a time zone changes in summer.
    fn offset(&self, time: Timestamp) -> i32 {
        let Some(zone) = &self.zone else { return 0 };
        jiff::Timestamp::from_nanosecond(time.0.into()).map_or(0, |time| zone.to_offset(time).seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::NEW_YEAR;

    #[test]
    fn times_are_those_of_the_zone() {
        let clock = |posix: &str| Clock { zone: Some(TimeZone::posix(posix).unwrap()) };
        let berlin = clock("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!((berlin.text(NEW_YEAR).time_of_day(), &*berlin.name(NEW_YEAR)), ("01:00:00.000000000", "UTC+01:00"));
        let july = Timestamp(NEW_YEAR.0 + 190 * 86_400_000_000_000);
        assert_eq!((berlin.text(july).time_of_day(), &*berlin.name(july)), ("02:00:00.000000000", "UTC+02:00"));
        let new_york = clock("EST5EDT,M3.2.0,M11.1.0");
        assert_eq!((new_york.text(NEW_YEAR).date(), &*new_york.name(NEW_YEAR)), ("2025-12-31", "UTC-05:00"));
        let utc = Clock::new(false);
        assert_eq!((utc.text(NEW_YEAR).time_of_day(), &*utc.name(NEW_YEAR)), ("00:00:00.000000000", "UTC"));
    }
}
