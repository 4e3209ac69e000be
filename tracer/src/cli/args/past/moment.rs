//! Moments as users write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::domain::event::Timestamp;

const HELP: &str =
    "not a time: write 02:00, yesterday 02:00, 2026-11-30T02:00, -30m or now (with a time zone: 2026-11-30T02:00Z)";

/// A moment as the user wrote it; which one it is depends on the time zone and the present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// So long before the present.
    Ago(Duration),
    /// A time of day, on the nearest fitting day.
    TimeOfDay(Time),
    /// A time so many days ago.
    DaysAgo(i64, Time),
    /// A date and a time.
    Local(DateTime),
    /// A moment with its offset from UTC.
    Exact(Timestamp),
}

/// Which of two moments with the same name is meant.
#[derive(Clone, Copy)]
enum Side {
    Earlier,
    Later,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = kind(text.trim()).ok_or(HELP)?;
        Ok(Self { text: text.to_owned(), kind })
    }
}

fn kind(text: &str) -> Option<Kind> {
    if text == "now" {
        return Some(Kind::Ago(Duration::ZERO));
    }
    if let Some(ago) = text.strip_prefix('-') {
        return humantime::parse_duration(ago).ok().map(Kind::Ago);
    }
    for (word, days) in [("today", 0), ("yesterday", 1)] {
        if let Some(rest) = text.strip_prefix(word) {
            let time = rest.trim();
            return Some(Kind::DaysAgo(days, if time.is_empty() { Time::midnight() } else { time_of_day(time)? }));
        }
    }
    if let Some(time) = time_of_day(text) {
        return Some(Kind::TimeOfDay(time));
    }
    // A moment with an offset is not to be read without it.
    let exact = with_seconds(text).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let exact = exact.or_else(|| text.parse().ok()).and_then(|time| u64::try_from(time.as_nanosecond()).ok());
    if let Some(exact) = exact {
        return Some(Kind::Exact(Timestamp(exact)));
    }
    let (date, time) = text.split_once(['T', 't', ' ']).map_or((text, None), |(date, time)| (date, Some(time)));
    let time = time.map_or(Some(Time::midnight()), time_of_day)?;
    Some(Kind::Local(date_of(date)?.to_datetime(time)))
}

/// `2026-11-30T02:00Z` with the seconds that RFC 3339 wants.
fn with_seconds(text: &str) -> Option<String> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(at);
    (time.len() == "02:00".len()).then(|| format!("{date}T{time}:00{zone}"))
}

/// `02:00`, `2:00` or `02:00:30`.
fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text.split(':').map(|part| {
        let is_number = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<i8>().ok().filter(|_| is_number)
    });
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if parts.next().is_some() {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

fn date_of(text: &str) -> Option<Date> {
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_date { text.parse().ok() } else { None }
}

impl Moment {
    /// The moment as the start of a span: a time of day is the last one before `now`.
    pub(super) fn before(&self, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
        let Kind::TimeOfDay(time) = self.kind else { return self.on_its_day(now, zone, Side::Earlier) };
        let today = civil(now, zone)?.date();
        let at = |date: Date| moment(date.to_datetime(time), zone, Side::Earlier);
        let of_today = at(today)?;
        if of_today <= now { Ok(of_today) } else { at(today.yesterday().map_err(|error| error.to_string())?) }
    }

    /// The moment as the end of a span: a time of day is the first one after `start`.
    pub(super) fn behind(&self, start: Timestamp, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
        let Kind::TimeOfDay(time) = self.kind else { return self.on_its_day(now, zone, Side::Later) };
        let day = civil(start, zone)?.date();
        let at = |date: Date| moment(date.to_datetime(time), zone, Side::Later);
        let of_day = at(day)?;
        if of_day > start { Ok(of_day) } else { at(day.tomorrow().map_err(|error| error.to_string())?) }
    }

    fn on_its_day(&self, now: Timestamp, zone: &TimeZone, side: Side) -> Result<Timestamp, String> {
        match self.kind {
            Kind::Exact(time) => Ok(time),
            Kind::Ago(ago) => {
                let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
                Ok(Timestamp(now.0.saturating_sub(ago)))
            }
            Kind::Local(time) => moment(time, zone, side),
            Kind::TimeOfDay(time) => moment(civil(now, zone)?.date().to_datetime(time), zone, side),
            Kind::DaysAgo(days, time) => {
                let mut day = civil(now, zone)?.date();
                for _ in 0..days {
                    day = day.yesterday().map_err(|error| error.to_string())?;
                }
                moment(day.to_datetime(time), zone, side)
            }
        }
    }
}

fn civil(time: Timestamp, zone: &TimeZone) -> Result<DateTime, String> {
    let time = jiff::Timestamp::from_nanosecond(time.0.into()).map_err(|error| error.to_string())?;
    Ok(zone.to_datetime(time))
}

/// The moment with this name. In the hour that a clock which is set back has twice, and in the one that a clock which is set
/// forward leaves out, there are two.
fn moment(time: DateTime, zone: &TimeZone, side: Side) -> Result<Timestamp, String> {
    let named = zone.to_ambiguous_timestamp(time);
    let found = match side {
        Side::Earlier => named.earlier(),
        Side::Later => named.later(),
    };
    let nanoseconds = found.map_err(|error| error.to_string())?.as_nanosecond();
    u64::try_from(nanoseconds).map(Timestamp).map_err(|_| "that is before 1970 or after 2554".to_owned())
}
