//! Queries, in the part of `PromQL` that all engines share.
//!
//! `increase()` estimates: it extrapolates to the edges of its window, and leaves out what a series counted before its
//! first sample. Here counts are differences of two states of the same process, which the engine subtracts; see
//! [`super::increase`].

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::START;
use super::error::EngineError;

/// The label that distinguishes the terms of [`Scope::states`].
pub(super) const TERM: &str = "droptrace_term";

/// The agents of the queries, and the labels that identify them.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Labels whose values together identify an agent.
    identity: Vec<String>,
    /// Matchers such as `cluster="a",rack=~"1.*"`, or empty.
    matchers: String,
}

/// A time span that is queried: its end and its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Seconds since the Unix epoch.
    pub end: f64,
    /// The length; whole seconds.
    pub length: Duration,
}

impl Window {
    /// Seconds since the Unix epoch.
    pub fn begin(&self) -> f64 {
        self.end - self.length.as_secs_f64()
    }

    /// The time span of the same length, or another one, just before this one.
    #[must_use]
    pub fn before(&self, length: Duration) -> Self {
        Self { end: self.begin(), length }
    }
}

/// A counter that is queried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter<'c> {
    /// The metric.
    pub(super) metric: &'c str,
    /// Matchers of its series.
    pub(super) more: &'c str,
    /// The labels of its result, apart from those of the agent.
    pub(super) labels: &'c [&'c str],
}

/// The state of a counter at one time, for the named agents.
#[derive(Clone, Debug)]
pub(super) struct Term<'a> {
    /// Seconds since the Unix epoch.
    pub(super) at: f64,
    /// Values of the labels that identify the agents.
    pub(super) agent: &'a [String],
}

impl Scope {
    /// Agents that match, identified by these labels.
    ///
    /// # Errors
    /// Fails if a label or a matcher is invalid, or there is no label.
    pub fn new(identity: &[String], matchers: &[String]) -> Result<Self, EngineError> {
        if identity.is_empty() {
            let cause = "at least one label must identify an agent, such as instance";
            return Err(EngineError::Settings(cause.into()));
        }
        if let Some(wrong) = identity.iter().find(|name| !is_label(name)) {
            return Err(EngineError::Settings(format!("{wrong:?} is not the name of a label")));
        }
        if let Some(wrong) = matchers.iter().find(|matcher| !is_matcher(matcher)) {
            let cause = format!("{wrong:?} is not a matcher: write it as cluster=\"a\", or with !=, =~ or !~");
            return Err(EngineError::Settings(cause));
        }
        Ok(Self { identity: identity.to_vec(), matchers: matchers.join(",") })
    }

    /// Labels whose values together identify an agent.
    pub(super) fn identity(&self) -> &[String] {
        &self.identity
    }

    /// The matchers in the form that follows a metric's name.
    pub(super) fn matchers(&self) -> String {
        self.select("", "")
    }

    /// A metric's series of these agents, with further matchers.
    pub(super) fn select(&self, metric: &str, more: &str) -> String {
        let matchers: Vec<_> = [more, &self.matchers].into_iter().filter(|part| !part.is_empty()).collect();
        if matchers.is_empty() { metric.to_owned() } else { format!("{metric}{{{}}}", matchers.join(",")) }
    }

    fn by(&self) -> String {
        self.identity.join(",")
    }

    fn by_also(&self, labels: &[&str]) -> String {
        let own = self.identity.iter().map(String::as_str);
        let others = labels.iter().copied().filter(|label| !self.identity.iter().any(|own| own == label));
        own.chain(others).collect::<Vec<_>>().join(",")
    }

    /// The number of processes of each agent that have samples within the window.
    pub(super) fn processes(&self, length: Duration) -> String {
        format!("sum by ({}) (changes({}[{}]) + 1)", self.by(), self.select(START, ""), Span(length))
    }

    /// The number of series that describe each agent at one time, if there is more than one: the agent would be counted
    /// as often.
    pub(super) fn duplicates(&self) -> String {
        format!("count by ({}) ({}) > 1", self.by(), self.select(START, ""))
    }

    /// The time of the last sample of each agent, of those that the engine still returns.
    pub(super) fn last_samples(&self) -> String {
        format!("max by ({}) (timestamp({}))", self.by(), self.select(START, ""))
    }

    /// The start of agents for which the engine computes the difference at once: those with a single process that runs
    /// at the end, and that either ran at the beginning, or started within the window.
    pub(super) fn covered(&self, length: Duration) -> String {
        let (start, span, by) = (self.select(START, ""), Span(length), self.by());
        let throughout = format!("{start} == {start} offset {span}");
        let began = format!("({start} > time() - {}) unless {start} offset {span}", length.as_secs());
        format!("(({throughout}) or ({began})) and on ({by}) ({} == 1)", self.processes(length))
    }

    /// The increase of a counter of these agents, summed by agent and these labels. A series without a sample at the
    /// beginning was 0: its process either did not run, or ran without the series. A series that fell expired and began
    /// again; a series without a sample at the end expired, and its last value counts.
    pub(super) fn growth(&self, metric: &str, more: &str, labels: &[&str], length: Duration) -> String {
        let (counter, span) = (self.select(metric, more), Span(length));
        let last = format!("({counter} or last_over_time({counter}[{span}]))");
        self.sum_of_growth(&last, &format!("{counter} offset {span}"), labels, length)
    }

    /// The increase of all series of a counter of these agents together, including those of expired keys: then the sum
    /// contains each drop that the agents counted exactly once.
    pub(super) fn whole_growth(&self, metric: &str, length: Duration) -> String {
        let (counter, by, span) = (self.select(metric, ""), self.by(), Span(length));
        let sum = format!("sum by ({by}) ({counter})");
        format!("({sum} - sum by ({by}) ({counter} offset {span}) or {sum}) and on ({by}) ({})", self.covered(length))
    }

    fn sum_of_growth(&self, last: &str, first: &str, labels: &[&str], length: Duration) -> String {
        format!(
            "sum by ({}) ((({last} - {first} >= 0) or {last}) and on ({}) ({}))",
            self.by_also(labels),
            self.by(),
            self.covered(length)
        )
    }

    /// The highest increase of a counter within any interval of the window, if it is at least `least`. The intervals
    /// follow one another.
    pub(super) fn peaks(&self, counter: &Counter<'_>, window: Duration, piece: Duration, least: f64) -> String {
        let series = self.select(counter.metric, counter.more);
        let growth = self.sum_of_growth(&series, &format!("{series} offset {}", Span(piece)), counter.labels, piece);
        format!("max_over_time(({growth})[{}:{}]) >= {least}", Span(window), Span(piece))
    }

    /// All processes of these agents with samples within the window, and perhaps those of other agents.
    pub(super) fn lives<'a>(&self, agents: &(impl Iterator<Item = &'a [String]> + Clone), length: Duration) -> String {
        format!("{}[{}]", self.select(START, &self.any_of(agents)), Span(length))
    }

    /// A metric's current series of these agents, and perhaps of other agents.
    pub(super) fn start_of<'a>(&self, agents: &(impl Iterator<Item = &'a [String]> + Clone)) -> String {
        self.select(START, &self.any_of(agents))
    }

    /// Matchers for each label by itself: they match these agents, and perhaps others.
    fn any_of<'a>(&self, agents: &(impl Iterator<Item = &'a [String]> + Clone)) -> String {
        let matcher = |(index, label): (usize, &String)| {
            let mut values: Vec<_> = agents.clone().map(|agent| agent[index].as_str()).collect();
            values.sort_unstable();
            values.dedup();
            let regex = values.into_iter().map(escaped).collect::<Vec<_>>().join("|");
            format!("{label}=~{}", Quoted(&regex))
        };
        self.identity.iter().enumerate().map(matcher).collect::<Vec<_>>().join(",")
    }

    /// The value of a counter for each of the terms, summed by agent and these labels. [`TERM`] is the term's index.
    pub(super) fn states(&self, metric: &str, more: &str, labels: &[&str], terms: &[Term<'_>]) -> String {
        let by = self.by_also(labels);
        let state = |(index, term): (usize, &Term<'_>)| {
            let mut matchers: Vec<_> =
                self.identity.iter().zip(term.agent).map(|(l, v)| format!("{l}={}", Quoted(v))).collect();
            if !more.is_empty() {
                matchers.push(more.to_owned());
            }
            let series = self.select(metric, &matchers.join(","));
            format!("label_replace(sum by ({by}) ({series} @ {:.3}),\"{TERM}\",\"{index}\",\"\",\"\")", term.at)
        };
        terms.iter().enumerate().map(state).collect::<Vec<_>>().join(" or ")
    }

    /// The last properties that agents reported within the window.
    pub(super) fn last(&self, metric: &str, length: Duration) -> String {
        let (series, by) = (self.select(metric, ""), self.by());
        format!("{series} or on ({by}) last_over_time({series}[{}])", Span(length))
    }

    /// Agents that at some time of the window did not know how many drops they had lost.
    pub(super) fn unknown_loss(&self, length: Duration) -> String {
        let unknown = self.select("droptrace_loss_unknown", "");
        format!("max by ({}) (max_over_time({unknown}[{}])) > 0", self.by(), Span(length))
    }

    /// Agents whose drops by aggregation key do not agree with their ledger. The ledger also counts the freed buffers
    /// that are not packets.
    pub(super) fn unbalanced(&self) -> String {
        let (by, drops) = (self.by(), self.select("droptrace_dropped_packets_total", ""));
        let others = self.select("droptrace_not_packets_total", "");
        let ledger = self.select("droptrace_ledger_drops_total", "account=~\"accounted|overflow\"");
        format!("sum by ({by}) ({drops} or {others}) != on ({by}) sum by ({by}) ({ledger})")
    }

    /// The seconds since agents last read their totals, if that is longer than the limit.
    pub(super) fn not_read(&self, longest: Duration) -> String {
        let read = self.select("droptrace_last_read_timestamp_seconds", "");
        format!("max by ({}) (time() - {read}) > {}", self.by(), longest.as_secs())
    }

    /// Targets that the engine cannot scrape, of the jobs that have agents.
    pub(super) fn down(&self, length: Duration) -> String {
        let (up, agents) = (self.select("up", ""), self.select(START, ""));
        format!(
            "min by ({}) ({up} == 0) and on (job) count by (job) (last_over_time({agents}[{}]))",
            self.by_also(&["job"]),
            Span(length)
        )
    }
}

/// The engine's own time, in seconds since the Unix epoch.
pub(super) const NOW: &str = "vector(time())";

/// A time span: `3600s`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

/// A string literal.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// A regular expression that matches only this text.
fn escaped(text: &str) -> String {
    let mut regex = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex
}

fn is_label(name: &str) -> bool {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_word && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Returns whether the text is one matcher and nothing else. For any other text, the engine would report an error in a
/// query that the user did not write.
fn is_matcher(text: &str) -> bool {
    let operator = text.find(['=', '!']).unwrap_or(0);
    let (name, rest) = text.split_at(operator);
    let value = ["=~", "!~", "!=", "="].into_iter().find_map(|operator| rest.strip_prefix(operator));
    let quoted = value.and_then(|value| value.strip_prefix('"')).and_then(|value| value.strip_suffix('"'));
    let mut is_escape = false;
    let is_whole = |inner: &str| {
        inner.chars().all(|c| {
            let ends = c == '"' && !is_escape;
            is_escape = c == '\\' && !is_escape;
            !ends
        }) && !is_escape
    };
    is_label(name) && quoted.is_some_and(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn scope(matchers: &[&str]) -> Result<Scope, EngineError> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Scope::new(&owned(&["job", "instance"]), &owned(matchers))
    }

    #[test]
    fn queries() {
        let scope = scope(&[r#"rack="1""#]).unwrap();
        insta::assert_snapshot!(
            [
                scope.growth("x", "", &["reason"], HOUR),
                scope.peaks(&Counter { metric: "x", more: "", labels: &["reason"] }, HOUR, HOUR / 60, 6e4),
                scope.whole_growth("x", HOUR),
                scope.unbalanced(),
                scope.down(HOUR),
                scope.last("droptrace_host_info", HOUR),
            ]
            .join("\n")
        );
    }

    #[test]
    fn agents_are_named_exactly() {
        let scope = scope(&[]).unwrap();
        let agents = [["d".to_owned(), "h.1:23870".to_owned()], ["d".to_owned(), "a\"\\\n".to_owned()]];
        assert_eq!(
            scope.lives(&agents.iter().map(<[String; 2]>::as_slice), HOUR),
            r#"droptrace_start_time_seconds{job=~"d",instance=~"a\"\\\\\n|h\\.1:23870"}[3600s]"#
        );
        let term = Term { at: 1.5, agent: &agents[1] };
        assert_eq!(
            scope.states("x", "a=\"b\"", &["reason"], &[term]),
            r#"label_replace(sum by (job,instance,reason) (x{job="d",instance="a\"\\\n",a="b"} @ 1.500),"droptrace_term","0","","")"#
        );
    }

    #[test]
    fn matchers_are_valid_or_an_error() {
        for text in [r#"a="b""#, r#"a=~"b|c""#, r#"_a1!="""#, r#"a!~"b\"c""#, r#"a="x\\""#] {
            assert!(scope(&[text]).is_ok(), "{text}");
        }
        for text in ["", "a", "a=b", r#"="b""#, r#"1a="b""#, r#"a="b",c="d""#, r#"a="b"}"#, r#"a="b\""#, r#"a==""#] {
            assert!(scope(&[text]).is_err(), "{text}");
        }
        assert!(Scope::new(&[], &[]).is_err() && Scope::new(&["a b".to_owned()], &[]).is_err());
    }
}
