//! Each reader of bytes that may come from anywhere, as a function that takes any bytes and asserts what must hold of the
//! result. Fuzzing (`tracer/fuzz`) and the test `hostile_bytes` call them.

use std::io::Cursor;
#[cfg(feature = "agent")]
use std::path::Path;

use droptrace_base::hostile::{Check, assert_json, assert_readable};

use crate::backend::replay::Recording;
use crate::cli::replay::replay_into;
use crate::dimension::Dimensions;
#[cfg(feature = "agent")]
use crate::metrics::web_config::WebConfig;
use crate::render::rank::Sort;
use crate::sink::{DropSink, StatJson, StatSink, TraceJson, TraceText, TraceTextOptions};

/// All of them, by the name of the folder that holds the reader's examples.
pub const ALL: &[(&str, Check)] = &[
    ("recording", recording),
    #[cfg(feature = "agent")]
    ("web_config", web_config),
];

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
    StatJson::new(&mut stat, Sort::default(), Dimensions::all()).report(&totals).expect("memory takes it");
    assert_readable(&text);
    json.split_inclusive(|byte| *byte == b'\n').chain([&*stat]).for_each(assert_json);
}

/// The file of settings that says who may scrape: it is taken or refused.
#[cfg(feature = "agent")]
pub fn web_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Files that it names are looked for where there are none.
    drop(WebConfig::parse(text, Path::new("/nonexistent")));
}
