//! Each reader of bytes that may come from anywhere, as a function that takes any bytes and asserts what must hold of the
//! result. Fuzzing (`tracer/fuzz`) and the test `hostile_bytes` call them.

use std::io::Cursor;
use std::path::Path;

use serde::de::IgnoredAny;

use crate::backend::replay::Recording;
use crate::cli::replay::replay_into;
use crate::fleet::analyse::Options;
use crate::fleet::merge::Merge;
use crate::fleet::prometheus::count_series;
use crate::fleet::report::{Input, Report};
use crate::metrics::web_config::WebConfig;
use crate::outside;
use crate::render::rank::Sort;
use crate::sink::{DropSink, StatJson, StatSink, TraceJson, TraceText, TraceTextOptions};
use crate::snapshot;

/// A check of a reader.
pub type Check = fn(&[u8]);

/// All of them, by the name of the folder that holds the reader's examples.
pub const ALL: [(&str, Check); 4] =
    [("snapshot", snapshot), ("recording", recording), ("web_config", web_config), ("answer", answer)];

/// A snapshot that is read can be written and read again, and makes a report.
///
/// # Panics
/// Where that does not hold.
pub fn snapshot(bytes: &[u8]) {
    let Ok(read) = snapshot::read(bytes) else { return };
    let mut text = Vec::new();
    snapshot::write(&mut text, &read).expect("memory takes it");
    let again = snapshot::read(&text[..]).expect("it was written here");
    assert_eq!(again, read, "writing changes it");
    let mut merge = Merge::default();
    // Its counts may be beyond 2^64 - 1.
    let is_added = merge.add(&read, None).is_ok();
    assert!(merge.add(&read, None).is_err(), "one time is counted twice");
    if is_added {
        let mut report = Vec::new();
        let fleet = merge.into_fleet();
        let document = Report::of(&fleet, Input::of_snapshots(), &Options::default());
        outside::to_json(&mut report, &document).expect("memory takes it");
        is_json(&report);
    }
}

/// A recording ends, whatever its lines are, and its drops are shown.
///
/// # Panics
/// Where what is shown has characters that hide, or should be JSON and is not.
pub fn recording(bytes: &[u8]) {
    let Ok(mut recording) = Recording::read(Cursor::new(bytes.to_vec())) else { return };
    let (mut text, mut json) = (Vec::new(), Vec::new());
    let options = TraceTextOptions { color: false, home_netns: 1, seen_by: true };
    let mut sinks: [Box<dyn DropSink + '_>; 2] =
        [Box::new(TraceText::new(&mut text, options)), Box::new(TraceJson::new(&mut json))];
    let totals = replay_into(&mut recording, &mut sinks).expect("memory takes it");
    drop(sinks);
    let mut stat = Vec::new();
    StatJson::new(&mut stat, Sort::default()).report(&totals).expect("memory takes it");
    is_readable(&text);
    json.split_inclusive(|byte| *byte == b'\n').chain([&*stat]).for_each(is_json);
}

/// The file of settings that says who may scrape: it is taken or refused.
pub fn web_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Files that it names are looked for where there are none.
    drop(WebConfig::parse(text, Path::new("/nonexistent")));
}

/// An engine's answer: its series are handed on as they come.
///
/// # Panics
/// Where a part of the answer is told twice.
pub fn answer(bytes: &[u8]) {
    let Ok(series) = count_series(bytes) else { return };
    assert!(series < bytes.len().max(1), "{series} series in {} bytes", bytes.len());
}

/// Text without characters that hide.
fn is_readable(shown: &[u8]) {
    let text = std::str::from_utf8(shown).expect("it is UTF-8");
    let hidden = text.chars().find(|c| *c != '\n' && outside::is_hidden(*c));
    assert_eq!(hidden, None, "{text}");
}

fn is_json(shown: &[u8]) {
    is_readable(shown);
    let document = serde_json::from_slice::<IgnoredAny>(shown);
    assert!(document.is_ok(), "{}", String::from_utf8_lossy(shown));
}
