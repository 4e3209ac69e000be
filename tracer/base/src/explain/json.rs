//! The JSON form of explanations, `droptrace.explain.v1`.

use std::io::{self, Write};

use serde::Serialize;

use super::{Explanation, Explanations};
use crate::outside::to_json;

#[derive(Serialize)]
struct Document<'e> {
    schema: &'static str,
    reason: &'e str,
    subsystem: &'e str,
    meaning: &'e str,
    usual: &'static str,
    because: &'e str,
    counters: &'e [String],
    unverified_counters: &'e [String],
    causes: &'e [String],
    next: &'e [String],
}

/// Writes one line of JSON.
pub fn write_json(out: &mut impl Write, name: &str, explanation: &Explanation) -> io::Result<()> {
    let document = Document {
        schema: "droptrace.explain.v1",
        reason: name,
        subsystem: &explanation.subsystem,
        meaning: &explanation.meaning,
        usual: explanation.usual.name(),
        because: &explanation.because,
        counters: &explanation.counters,
        unverified_counters: &explanation.unverified,
        causes: &explanation.causes,
        next: &explanation.next,
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}

/// Writes one line of JSON for each reason.
pub fn write_all_json(out: &mut impl Write, explanations: &Explanations) -> io::Result<()> {
    explanations.iter().try_for_each(|(name, explanation)| write_json(out, name, explanation))
}
