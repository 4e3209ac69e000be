//! Reads answers of `/api/v1/query` as they arrive: each series is passed on and then discarded.
//!
//! `{"status":"success","data":{"resultType":"vector","result":[{"metric":{…},"value":[1700000000.1,"42"]}]}}`

use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::series::{Point, Series};

/// The parts of an answer apart from its series.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// `success` or `error`.
    pub(super) status: String,
    /// Kind of an error: `bad_data`, `timeout`, …
    pub(super) error_type: String,
    /// The text of an error.
    pub(super) error: String,
    /// Warnings of the engine about the answer, for example that it is partial.
    pub(super) warnings: Vec<String>,
}

/// Reads an answer to its end, which must also be the end of the text.
pub(super) fn read(from: impl Read, each: &mut dyn FnMut(&Series)) -> Result<Answer, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_reader(from);
    let answer = json.deserialize_map(Whole { each })?;
    json.end()?;
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Key {
    Status,
    Data,
    ErrorType,
    Error,
    Warnings,
    Result,
    Metric,
    Value,
    Values,
    #[serde(other)]
    Other,
}

struct Whole<'f> {
    each: &'f mut dyn FnMut(&Series),
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer with a status")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer, A::Error> {
        let mut answer = Answer::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Status => answer.status = map.next_value()?,
                Key::Data => map.next_value_seed(Data { each: &mut *self.each })?,
                Key::ErrorType => answer.error_type = map.next_value()?,
                Key::Error => answer.error = map.next_value()?,
                Key::Warnings => answer.warnings = map.next_value::<Option<Warnings>>()?.unwrap_or_default().0,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if answer.status.is_empty() {
            return Err(A::Error::missing_field("status"));
        }
        Ok(answer)
    }
}

/// The first warnings of an answer, which may have any number of them.
#[derive(Default)]
struct Warnings(Vec<String>);

/// The most warnings.
const MOST_WARNINGS: usize = 100;

impl<'de> Deserialize<'de> for Warnings {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_seq(WarningsVisitor)
    }
}

struct WarningsVisitor;

impl<'de> Visitor<'de> for WarningsVisitor {
    type Value = Warnings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of warnings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Warnings, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MOST_WARNINGS {
            let Some(warning) = list.next_element()? else { return Ok(Warnings(kept)) };
            kept.push(warning);
        }
        let mut more = 0_u64;
        while list.next_element::<IgnoredAny>()?.is_some() {
            more += 1;
        }
        if more > 0 {
            kept.push(format!("and {more} more"));
        }
        Ok(Warnings(kept))
    }
}

struct Data<'f> {
    each: &'f mut dyn FnMut(&Series),
}

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data with a result, or none")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut had_result = false;
        while let Some(key) = map.next_key()? {
            if matches!(key, Key::Result) {
                map.next_value_seed(AllSeries { each: &mut *self.each })?;
                had_result = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if had_result { Ok(()) } else { Err(A::Error::missing_field("result")) }
    }
}

struct AllSeries<'f> {
    each: &'f mut dyn FnMut(&Series),
}

impl<'de> DeserializeSeed<'de> for AllSeries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AllSeries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut series = Series::default();
        while list.next_element_seed(Into(&mut series))?.is_some() {
            (self.each)(&series);
            series.clear();
        }
        Ok(())
    }
}

/// Deserialises into an existing value.
struct Into<'t, T>(&'t mut T);

/// Reads labels into the series.
struct Labels<'t>(&'t mut Series);

/// Reads one point from its two elements.
struct OnePoint<'t>(&'t mut Vec<Point>);

impl<'de> DeserializeSeed<'de> for Into<'_, Series> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Into<'_, Series> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a series: labels under `metric`, and `value` or `values`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            match key {
                Key::Metric => map.next_value_seed(Labels(self.0))?,
                Key::Value => map.next_value_seed(OnePoint(&mut self.0.points))?,
                Key::Values => map.next_value_seed(Into(&mut self.0.points))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if self.0.points.is_empty() { Err(A::Error::missing_field("value")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Labels<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Labels<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Series { text, ends, .. } = self.0;
        while map.next_key_seed(Into(&mut *text))?.is_some() {
            let name = text.len();
            map.next_value_seed(Into(&mut *text))?;
            ends.push((name, text.len()));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Into<'_, String> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Into<'_, String> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Into<'_, Vec<Point>> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Into<'_, Vec<Point>> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of points")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(OnePoint(self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for OnePoint<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let (at, value) = <(f64, Figure)>::deserialize(json)?;
        self.0.push(Point { at, value: value.0 });
        Ok(())
    }
}

/// A number in a string: `42`, `1e+06`, `NaN`, `+Inf`.
struct Figure(f64);

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_str(FigureVisitor)
    }
}

struct FigureVisitor;

impl Visitor<'_> for FigureVisitor {
    type Value = Figure;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Figure, E> {
        let value = text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))?;
        Ok(Figure(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(Answer, Vec<String>), String> {
        let mut lines = Vec::new();
        let answer = read(text.as_bytes(), &mut |series| {
            let labels: Vec<_> = series.labels().map(|(name, value)| format!("{name}={value}")).collect();
            let points: Vec<_> = series.points.iter().map(|point| format!("{}@{}", point.value, point.at)).collect();
            lines.push(format!("{} {}", labels.join(","), points.join(" ")));
        });
        answer.map(|answer| (answer, lines)).map_err(|error| error.to_string())
    }

    #[test]
    fn instants_and_ranges() {
        let (answer, lines) = parsed(
            r#"{"status":"success","isPartial":false,"data":{"resultType":"vector","result":[
                {"metric":{"__name__":"x","a":"1\n"},"value":[1700000000.123,"42"]},
                {"metric":{},"value":[1,"NaN"]},
                {"metric":{"b":""},"values":[[1,"0"],[2.5,"+Inf"]]}],"stats":{}},
               "warnings":["half of it"],"infos":["x"]}"#,
        )
        .unwrap();
        assert_eq!(lines, ["__name__=x,a=1\n 42@1700000000.123", " NaN@1", "b= 0@1 inf@2.5"]);
        assert_eq!((answer.status.as_str(), answer.warnings), ("success", vec!["half of it".to_owned()]));
    }

    #[test]
    fn errors_have_no_data() {
        let (answer, lines) =
            parsed(r#"{"status":"error","data":null,"errorType":"timeout","error":"too slow","warnings":null}"#)
                .unwrap();
        assert_eq!((answer.error_type.as_str(), answer.error.as_str(), lines.len()), ("timeout", "too slow", 0));
    }

    #[test]
    fn so_many_warnings_are_kept() {
        let warnings = vec!["\"w\""; MOST_WARNINGS + 50].join(",");
        let text = format!(r#"{{"status":"success","data":{{"result":[]}},"warnings":[{warnings}]}}"#);
        let kept = parsed(&text).unwrap().0.warnings;
        assert_eq!((kept.len(), kept.last().map(String::as_str)), (MOST_WARNINGS + 1, Some("and 50 more")));
    }

    #[test]
    fn invalid_answers_are_an_error() {
        for text in [
            "",
            "{}",
            "[]",
            "<html>",
            r#"{"status":"success","data":{}}"#,
            r#"{"status":"success","data":{"result":[{"metric":{}}]}}"#,
            r#"{"status":"success","data":{"result":[{"metric":{},"value":[1,"x"]}]}}"#,
            r#"{"status":"success","data":{"result":[{"metric":{},"value":[1,2]}]}}"#,
            r#"{"status":"success","data":{"result":[1,"2"]}}"#,
            r#"{"status":"success"} more"#,
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn answer_truncated_anywhere_is_an_error() {
        let text = r#"{"status":"success","data":{"result":[{"metric":{"a":"b"},"value":[1,"2"]}]},"warnings":["w"]}"#;
        parsed(text).unwrap();
        for end in 0..text.len() {
            assert!(parsed(&text[..end]).is_err(), "{end}");
        }
    }
}
