use clap::Parser as _;

use super::*;
use crate::render::time::TimeText;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    past: PastArgs,

    #[arg(long)]
    map_entries: Option<u32>,

    #[arg(long)]
    max_rows: Option<u32>,
}

/// 2026-11-30T11:00:00Z.
const NOW: Timestamp = Timestamp(1_796_036_400_000_000_000);

fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn span_at(now: Timestamp, words: &[&str]) -> Result<String, String> {
    let line =
        Line::try_parse_from(std::iter::once("x").chain(words.iter().copied())).map_err(|error| error.to_string())?;
    let Span { from, to } = line.past.span(now, &berlin())?;
    let text = |time| TimeText::new(time).as_str()[..19].to_owned();
    Ok(format!("{} {}", text(from), text(to)))
}

fn span(words: &[&str]) -> Result<String, String> {
    span_at(NOW, words)
}

#[test]
fn times_are_those_of_the_zone() {
    // Noon in Berlin.
    for (since, until, expected) in [
        ("02:00", "02:30", "2026-11-30T01:00:00 2026-11-30T01:30:00"),
        ("23:00", "1:00", "2026-11-29T22:00:00 2026-11-30T00:00:00"),
        ("12:00:00", "now", "2026-11-30T11:00:00 2026-11-30T11:00:00"),
        ("12:00:01", "12:00:02", "2026-11-29T11:00:01 2026-11-29T11:00:02"),
        ("-30m", "-10m", "2026-11-30T10:30:00 2026-11-30T10:50:00"),
        ("-1h 30m", "now", "2026-11-30T09:30:00 2026-11-30T11:00:00"),
        ("yesterday", "yesterday 02:00", "2026-11-28T23:00:00 2026-11-29T01:00:00"),
        ("today", "today 02:00:30", "2026-11-29T23:00:00 2026-11-30T01:00:30"),
        ("2026-11-30T02:00", "2026-11-30 02:30:00", "2026-11-30T01:00:00 2026-11-30T01:30:00"),
        ("2026-11-30T02:00Z", "2026-11-30T02:30:15Z", "2026-11-30T02:00:00 2026-11-30T02:30:15"),
        ("2026-11-30T02:00+05:30", "2026-11-30", "2026-11-29T20:30:00 2026-11-29T23:00:00"),
    ] {
        let found = span(&["--since", since, "--until", until]);
        let is_empty = since == "12:00:00";
        assert_eq!(
            found,
            if is_empty { Err("--until now: that is not after --since 12:00:00".into()) } else { Ok(expected.into()) },
            "{since}"
        );
    }
    assert_eq!(span(&["--since=-1h"]), Ok("2026-11-30T10:00:00 2026-11-30T11:00:00".into()));
}

#[test]
fn hour_that_is_twice_is_whole_and_one_that_is_left_out_is_bridged() {
    let at = |text: &str| {
        let (since, until) = text.split_once('-').unwrap();
        let day = |date: &str, time: &str| format!("{date}T{time}");
        let find = |date: &str| span(&["--since", &day(date, since), "--until", &day(date, until)]).unwrap();
        [find("2026-10-25"), find("2026-03-29")]
    };
    let [twice, left_out] = at("02:15-02:45");
    assert_eq!(twice, "2026-10-25T00:15:00 2026-10-25T01:45:00");
    // 02:15 is 01:15 or 03:15 by the clock, and 02:45 is 01:45 or 03:45.
    assert_eq!(left_out, "2026-03-29T00:15:00 2026-03-29T01:45:00");
}

#[test]
fn wrong_times_are_refused_with_the_way_out() {
    for text in [
        "",
        "2",
        "25:00",
        "02:60",
        "2:0:0:0",
        "-",
        "-30",
        "tomorrow",
        "2026-13-01",
        "2026-02-30T02:00",
        "02:00 yesterday",
        "é2:00",
    ] {
        let error = span(&["--since", text]).unwrap_err();
        assert!(error.contains("not a time: write 02:00, yesterday 02:00"), "{text}: {error}");
    }
    for (words, expected) in [
        (&["--since", "2027-01-01"][..], "--since 2027-01-01: that is in the future"),
        (&["--since", "02:00", "--until", "2026-11-30T01:00"], "that is not after --since 02:00"),
        (&["--since", "1960-01-01"], "that is before 1970"),
        (&["--until", "02:00"], "--since"),
        (&["--history", "/x"], "--since"),
    ] {
        let error = span(words).unwrap_err();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}
