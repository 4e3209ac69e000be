//! The JSON forms of explanations: one line each, `droptrace.explain.v1` of reasons, `droptrace.explain-site.v1` of sites and
//! `droptrace.explain-counter.v1` of counters. Commands have the values of a row.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use super::fill::{Values, fill};
use super::{Counter, Explanation, Site, Topic, Usual};
use crate::outside::to_json;

#[derive(Serialize)]
#[serde(untagged)]
enum Document<'e> {
    Reason(ReasonDocument<'e>),
    Site(SiteDocument<'e>),
    Counter(CounterDocument<'e>),
}

#[derive(Serialize)]
struct ReasonDocument<'e> {
    schema: &'static str,
    reason: &'e str,
    subsystem: &'e str,
    meaning: Cow<'e, str>,
    usual: Option<&'static str>,
    because: &'e str,
    counters: &'e [String],
    unverified_counters: &'e [String],
    causes: Vec<&'e str>,
    /// The drop site, where a row has one with an explanation.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<SiteOfReason<'e>>,
    #[serde(flatten)]
    commands: Commands,
}

#[derive(Serialize)]
struct SiteOfReason<'e> {
    name: &'e str,
    source: &'e str,
    meaning: &'e str,
}

#[derive(Serialize)]
struct SiteDocument<'e> {
    schema: &'static str,
    site: &'e str,
    source: &'e str,
    also: &'e [String],
    reasons: &'e [String],
    meaning: &'e str,
    usual: &'static str,
    because: &'e str,
    causes: &'e [String],
    #[serde(flatten)]
    commands: Commands,
}

#[derive(Serialize)]
struct CounterDocument<'e> {
    schema: &'static str,
    counter: &'e str,
    class: &'static str,
    of: &'e [String],
    drops: Vec<Drops<'e>>,
    meaning: &'e str,
    causes: &'e [String],
    #[serde(flatten)]
    commands: Commands,
}

#[derive(Serialize)]
struct Drops<'e> {
    reason: &'e str,
    at: &'e [String],
}

#[derive(Serialize)]
struct Commands {
    next: Vec<String>,
    changes: Vec<String>,
}

/// Writes one line of JSON.
pub(crate) fn write_topic_json(out: &mut impl Write, topic: &Topic<'_>, values: &Values) -> io::Result<()> {
    let filled = |commands: Vec<Cow<'_, str>>| commands.iter().map(|command| fill(command, values).text).collect();
    let commands = Commands { next: filled(topic.next_for(values)), changes: filled(topic.changes()) };
    let document = match *topic {
        Topic::Reason(name, explanation, site) => Document::Reason(of_reason(name, explanation, site, commands)),
        Topic::Site(name, site) => Document::Site(of_site(name, site, commands)),
        Topic::Counter(name, counter) => Document::Counter(of_counter(name, counter, commands)),
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}

fn of_reason<'e>(
    reason: &'e str,
    explanation: &'e Explanation,
    site: Option<(&'e str, &'e Site)>,
    commands: Commands,
) -> ReasonDocument<'e> {
    let Explanation { subsystem, usual, because, counters, unverified, .. } = explanation;
    let topic = Topic::Reason(reason, explanation, site);
    let (meaning, causes) = (topic.meaning(), topic.causes());
    let site = site.map(|(name, site)| SiteOfReason { name, source: &site.source, meaning: &site.meaning });
    ReasonDocument {
        schema: "droptrace.explain.v1",
        reason,
        subsystem,
        meaning,
        usual: usual.map(Usual::name),
        because,
        counters,
        unverified_counters: unverified,
        causes,
        site,
        commands,
    }
}

fn of_site<'e>(name: &'e str, site: &'e Site, commands: Commands) -> SiteDocument<'e> {
    let Site { source, also, reasons, meaning, usual, because, causes, .. } = site;
    let (schema, usual) = ("droptrace.explain-site.v1", usual.name());
    SiteDocument { schema, site: name, source, also, reasons, meaning, usual, because, causes, commands }
}

fn of_counter<'e>(name: &'e str, counter: &'e Counter, commands: Commands) -> CounterDocument<'e> {
    let drops = counter.drops.iter().map(|drops| Drops { reason: &drops.reason, at: &drops.at });
    CounterDocument {
        schema: "droptrace.explain-counter.v1",
        counter: name,
        class: counter.class.name(),
        of: &counter.of,
        drops: drops.collect(),
        meaning: &counter.meaning,
        causes: &counter.causes,
        commands,
    }
}
