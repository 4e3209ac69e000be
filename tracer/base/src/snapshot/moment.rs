//! Points in time as text, in the form that all JSON of droptrace has.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::event::Timestamp;
use crate::render::time::TimeText;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(super) fn serialize<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    TimeText::new(*timestamp).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    let parsed = humantime::parse_rfc3339(&text).ok().and_then(nanoseconds);
    parsed.map(Timestamp).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"a point in time in UTC"))
}

fn nanoseconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok()?.as_nanos().try_into().ok()
}
