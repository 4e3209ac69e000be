//! Each reader of bytes that may come from anywhere, as a function that takes any bytes and asserts what must hold of the
//! result. Fuzzing (`tracer/fuzz`) and the test `hostile_bytes` call them.

use std::io::Cursor;
#[cfg(feature = "agent")]
use std::path::Path;

use droptrace_base::hostile::{Check, assert_json, assert_readable};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::backend::dtr::{BlockHeader, FILE_HEADER};
use crate::backend::history::{intervals, resealed};
use crate::backend::replay::Recording;
use crate::cli::replay::replay_into;
use crate::dimension::Dimensions;
use crate::domain::event::{PacketStart, Timestamp};
use crate::domain::past::Span;
use crate::filter::question::Question;
use crate::filter::{Answers, Filter, check};
#[cfg(feature = "agent")]
use crate::metrics::web_config::WebConfig;
use crate::pipeline::past::PastSum;
use crate::render::Size;
use crate::render::rank::Sort;
use crate::sink::{DropSink, StatJson, StatOptions, StatSink, StatText, TraceJson, TraceText, TraceTextOptions};

/// All of them, by the name of the folder that holds the reader's examples.
pub const ALL: &[(&str, Check)] = &[
    ("recording", recording),
    ("blocks", blocks),
    ("history", history),
    ("filter", filter),
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
    let options = TraceTextOptions { color: false, home_netns: 1, seen_by: true, local_time: true };
    let mut sinks: [Box<dyn DropSink + '_>; 2] =
        [Box::new(TraceText::new(&mut text, options)), Box::new(TraceJson::new(&mut json))];
    let totals = replay_into(&mut recording, &mut sinks).expect("memory takes it");
    drop(sinks);
    let mut stat = Vec::new();
    StatJson::new(&mut stat, Sort::default(), Dimensions::all()).report(&totals).expect("memory takes it");
    assert_readable(&text);
    json.split_inclusive(|byte| *byte == b'\n').chain([&*stat]).for_each(assert_json);
}

/// A recording of blocks ends, whatever is in its blocks. Their checksums are made right first: else hardly any changed
/// block would be read.
///
/// # Panics
/// As [`recording`].
pub fn blocks(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    let mut at = FILE_HEADER.len();
    while let Some(next) = seal(&mut sealed, at) {
        at = next;
    }
    recording(&sealed);
}

/// Sets the checksum of the block at `at`, and returns its end; absent if there is no whole block.
fn seal(bytes: &mut [u8], at: usize) -> Option<usize> {
    let (header, rest) = BlockHeader::read_from_prefix(bytes.get(at..)?).ok()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(header.body.get()).ok()?)?;
    let (names, _) = rest.split_at_checked(usize::try_from(header.names.get()).ok()?)?;
    let sealed = header.sealed(body, names);
    let end = at + size_of::<BlockHeader>() + body.len() + names.len();
    bytes[at..at + size_of::<BlockHeader>()].copy_from_slice(sealed.as_bytes());
    Some(end)
}

/// A file of a history is read to its end, whatever is in its frames, and its intervals are summed up and shown. The checksums of
/// frames are made right first.
///
/// # Panics
/// As [`recording`].
pub fn history(bytes: &[u8]) {
    let always = Span { from: Timestamp(0), to: Timestamp(u64::MAX) };
    let mut sum = PastSum::new(always, None);
    intervals(&resealed(bytes.to_vec()), always).for_each(|read| sum.add(read));
    let Some(report) = sum.report(Timestamp(u64::MAX)) else { return };
    let (mut text, mut json) = (Vec::new(), Vec::new());
    let options = StatOptions {
        by: None,
        sort: Sort::default(),
        top: Some(0),
        home_netns: 1,
        color: false,
        recorded: None,
        live: false,
        size: Box::new(|| Size { width: 100, height: None }),
    };
    StatText::new(&mut text, options).report(&report).expect("memory takes it");
    StatJson::new(&mut json, Sort::default(), Dimensions::all()).report(&report).expect("memory takes it");
    assert_readable(&text);
    assert_json(&json);
}

/// Answers yes to questions of an even length.
struct SomeAnswers;

impl Answers for SomeAnswers {
    fn answer(&self, question: &Question) -> bool {
        format!("{question:?}").len().is_multiple_of(2)
    }
}

/// A filter is refused at a position in its text, or its code is safe and runs to its end, on its own text as a packet.
///
/// # Panics
/// Where the code would leave its bounds, a run depends on anything but the packet, or the error has characters that hide.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Filter::parse(text) {
        Ok(filter) => {
            assert!(check(&filter.code, filter.questions.len()), "{text}: {:?}", filter.code);
            for (start, protocol) in
                [(PacketStart::Mac, 0), (PacketStart::Network, 0x800), (PacketStart::Network, 0x86dd)]
            {
                let view = crate::packet::view(start, protocol, u32::MAX, bytes, None);
                assert_eq!(filter.matches(&view, &SomeAnswers), filter.matches(&view, &SomeAnswers));
            }
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.offset), "{error:?}");
            assert_readable(error.to_string().as_bytes());
        }
    }
}

/// The file of settings that says who may scrape: it is taken or refused.
#[cfg(feature = "agent")]
pub fn web_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Files that it names are looked for where there are none.
    drop(WebConfig::parse(text, Path::new("/nonexistent")));
}
