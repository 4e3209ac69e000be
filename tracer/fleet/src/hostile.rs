//! Each reader of arbitrary bytes, as a function that takes any bytes and asserts properties of the result. Fuzzing
//! (`tracer/fuzz`) and the test `hostile_bytes` call these functions.

use droptrace_base::hostile::{Check, assert_json};
use droptrace_base::{outside, snapshot};

use crate::analyse::Options;
use crate::merge::Merge;
use crate::prometheus::count_series;
use crate::report::{Input, Report};

/// All readers, by the name of the folder with the reader's examples.
pub const ALL: [(&str, Check); 2] = [("snapshot", snapshot), ("answer", answer)];

/// Checks that a snapshot that is read can be written and read again, and makes a report.
///
/// # Panics
/// Panics if that does not hold.
pub fn snapshot(bytes: &[u8]) {
    let Ok(read) = snapshot::read(bytes) else { return };
    let mut text = Vec::new();
    snapshot::write(&mut text, &read).expect("memory takes it");
    let again = snapshot::read(&text[..]).expect("it was written here");
    assert_eq!(again, read, "writing changes it");
    let mut merge = Merge::default();
    // The counts may be beyond 2^64 - 1.
    let is_added = merge.add(&read, None).is_ok();
    assert!(merge.add(&read, None).is_err(), "one time is counted twice");
    if is_added {
        let mut report = Vec::new();
        let fleet = merge.into_fleet();
        let document = Report::of(&fleet, Input::of_snapshots(), &Options::default());
        outside::to_json(&mut report, &document).expect("memory takes it");
        assert_json(&report);
    }
}

/// Checks an engine's answer: its series are passed on as they arrive.
///
/// # Panics
/// Panics if a part of the answer is passed on twice.
pub fn answer(bytes: &[u8]) {
    let Ok(series) = count_series(bytes) else { return };
    assert!(series < bytes.len().max(1), "{series} series in {} bytes", bytes.len());
}
