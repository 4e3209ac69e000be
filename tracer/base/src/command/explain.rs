//! `droptrace explain` and `droptrace-fleet explain`: what a drop reason, a drop site or a kernel counter means and what to do
//! about it. The command needs no capabilities and no kernel.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;

use super::{Format, OutputFile};
use crate::advice::{Terms, entrance_of_text};
use crate::explain::{self, Entrance, Library, Topic, Values};
use crate::filter::Filter;
use crate::render::output::Output;

/// Options of `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Drop reason by name, or by number in the running kernel; kernel function that drops; kernel counter. Conditions of a filter
    /// may follow, whose values go into the commands: `NO_SOCKET netns web and udp port 53`, or `reason NO_SOCKET and netns web`
    /// [default: list all]
    #[arg(value_name = "REASON|SITE|COUNTER|NUMBER")]
    pub asked: Vec<String>,

    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Where the results go.
    #[command(flatten)]
    pub file: OutputFile,
}

/// What the host knows beside the explanations.
pub trait Lookup {
    /// The name of the drop reason with this number, in decimal or hexadecimal; absent if the text is no number.
    fn reason(&self, number: &str) -> Result<Option<String>>;

    /// The way into a network namespace, given as `--netns` takes it.
    fn entrance(&self, netns: &str) -> Entrance;

    /// Whether the kernel has a function with this name, also where no explanation has it.
    fn has_function(&self, name: &str) -> bool;
}

/// The lookup of a host without a kernel to ask.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere;

impl Lookup for Elsewhere {
    fn reason(&self, number: &str) -> Result<Option<String>> {
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        Err(anyhow!(
            "{number} is a number, and the numbers of drop reasons differ from kernel to kernel; `droptrace explain {number}` \
             on the host looks the name up"
        ))
    }

    fn entrance(&self, netns: &str) -> Entrance {
        entrance_of_text(netns)
    }

    fn has_function(&self, _name: &str) -> bool {
        false
    }
}

/// Explains one reason, site or counter, or lists all of them. An unknown name is an error, whose message offers similar names.
pub fn explain(args: &ExplainArgs, program: &str, lookup: &impl Lookup) -> Result<()> {
    let library =
        Library::built_in().context("the built-in explanations cannot be read, which is a fault of droptrace")?;
    let asked = args.asked.join(" ");
    let found = if args.asked.is_empty() { None } else { Some(find(&library, asked.trim(), program, lookup)?) };
    let mut output = Output::open(args.file.output.as_deref())?;
    let width = output.size()().width;
    match (args.format, found) {
        (Format::Text, Some((topic, values))) => explain::write_topic(&mut output, &topic, &values, width)?,
        (Format::Json, Some((topic, values))) => explain::write_topic_json(&mut output, &topic, &values)?,
        (Format::Text, None) => explain::write_list(&mut output, &library, width)?,
        (Format::Json, None) => {
            let nothing = Values::default();
            library.topics().try_for_each(|topic| explain::write_topic_json(&mut output, &topic, &nothing))?;
        }
    }
    output.flush()?;
    Ok(())
}

/// Finds what the words name: a topic, a topic and conditions, or conditions with a reason or a site.
fn find<'l>(library: &'l Library, asked: &str, program: &str, lookup: &impl Lookup) -> Result<(Topic<'l>, Values)> {
    if let Some(topic) = named(library, asked, lookup)? {
        return Ok((topic, Terms::default().values_for(&topic)));
    }
    let (first, rest) = asked.split_once(' ').unwrap_or((asked, ""));
    let (topic, conditions) = match named(library, first, lookup)? {
        Some(topic) if !rest.is_empty() => (Some(topic), rest.trim_start().trim_start_matches("and ")),
        _ => (None, asked),
    };
    if topic.is_none() && !asked.contains(' ') {
        return Err(unknown(library, asked, program, lookup));
    }
    let terms = Terms::of(&Filter::parse(conditions)?);
    let topic = match topic {
        Some(topic) => topic,
        None => of_terms(library, &terms, program, lookup)?,
    };
    let mut values = terms.values_for(&topic);
    values.entrance = values.netns.as_deref().map_or_else(Entrance::default, |netns| lookup.entrance(netns));
    Ok((topic, values))
}

fn named<'l>(library: &'l Library, asked: &str, lookup: &impl Lookup) -> Result<Option<Topic<'l>>> {
    if let Some(topic) = library.named(asked) {
        return Ok(Some(topic));
    }
    let Some(name) = lookup.reason(asked)? else { return Ok(None) };
    let known = library.named(&name);
    known.map(Some).with_context(|| format!("drop reason {asked} is {name} in this kernel, which has no explanation"))
}

fn of_terms<'l>(library: &'l Library, terms: &Terms, program: &str, lookup: &impl Lookup) -> Result<Topic<'l>> {
    let Terms { reason, site, .. } = terms;
    if let Some(topic) = library.of_drop(reason.as_deref(), site.as_deref()) {
        return Ok(topic);
    }
    match reason.as_ref().or(site.as_ref()) {
        Some(name) => Err(unknown(library, name, program, lookup)),
        None => Err(anyhow!(
            "the conditions name neither a drop reason nor a drop site; begin with one, as in `{program} explain NO_SOCKET \
             netns web`"
        )),
    }
}

fn unknown(library: &Library, asked: &str, program: &str, lookup: &impl Lookup) -> anyhow::Error {
    let moving = library.reasons.moving(asked);
    if !moving.is_empty() {
        return anyhow!(
            "{asked} is a kernel counter, not a drop reason; reasons that increase it: {}",
            moving.join(", ")
        );
    }
    let function = asked.split(['+', ' ']).next().unwrap_or(asked);
    if lookup.has_function(function) {
        return anyhow!(
            "{function} is a function of this kernel of which {program} has no explanation; `droptrace --by site,reason` shows \
             the reasons of the drops at each function"
        );
    }
    match library.nearest(asked).as_slice() {
        [] => anyhow!("unknown drop reason, drop site or counter {asked:?}; `{program} explain` lists all of them"),
        near => anyhow!("unknown drop reason, drop site or counter {asked:?}; similar names: {}", near.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(asked: &str) -> Result<(String, Values)> {
        let library = Library::built_in().unwrap();
        find(&library, asked, "droptrace", &Elsewhere).map(|(topic, values)| (topic.name().to_owned(), values))
    }

    fn error(asked: &str) -> String {
        found(asked).unwrap_err().to_string()
    }

    #[test]
    fn conditions_follow_a_name_or_contain_it() {
        let web = Entrance::Name("web".into());
        for asked in ["NO_SOCKET netns web and udp port 53", "NO_SOCKET and netns web and udp port 53"] {
            let (name, values) = found(asked).unwrap();
            assert_eq!((&*name, values.port, &values.entrance), ("NO_SOCKET", Some(53), &web), "{asked}");
            assert_eq!(values.filter, "reason NO_SOCKET and (netns web and udp port 53)");
        }
        let (name, values) = found("reason NOT_SPECIFIED and site ip_error and netns pid:7").unwrap();
        assert_eq!((&*name, values.entrance), ("ip_error", Entrance::Process(7)));
        let (name, values) = found("TcpExtListenDrops netns web").unwrap();
        assert_eq!((&*name, values.entrance), ("TcpExtListenDrops", web));
    }

    #[test]
    fn conditions_that_name_nothing_are_an_error() {
        let text = error("netns web and udp");
        assert!(text.contains("neither a drop reason nor a drop site"), "{text}");
        let text = error("NO_SOCKET netns");
        assert!(!text.is_empty() && found("reason XYZZY and udp").is_err(), "{text}");
    }

    #[test]
    fn unknown_name_is_an_error_with_similar_names() {
        let near = error("socket_rcvbuf");
        assert!(near.contains("\"socket_rcvbuf\"") && near.contains("similar names: SOCKET_RCVBUFF"), "{near}");
        let number = error("6");
        assert!(number.starts_with("6 is a number") && number.contains("`droptrace explain 6`"), "{number}");
        let far = error("xyzzy");
        assert!(far.ends_with("`droptrace explain` lists all of them"), "{far}");
        let mistyped = error("TcpExtListnDrops");
        assert!(mistyped.contains("similar names: TcpExtListenDrops"), "{mistyped}");
        for counter in ["snmp:TcpInCsumErrors", "tcpincsumerrors"] {
            let counter = error(counter);
            assert!(
                counter.contains("is a kernel counter") && counter.contains("reasons that increase it: "),
                "{counter}"
            );
        }
    }
}
