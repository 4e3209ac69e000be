//! The settings of an agent, from the command line and its file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Arg, CommandFactory as _, Parser};
use toml::{Table, Value};

use crate::backend::ebpf::default_room;
use crate::cli::args::{
    AgentArgs, AgentOptions, CommonArgs, DEFAULT_PORT, Destination, HistoryOptions, Mode, OtlpOptions, Source,
};
use crate::cli::{filter_interfaces, filter_names};
use crate::command::OutputFile;
use crate::dimension::Dimensions;
use crate::files::{self, MAX_SETTINGS};
use crate::filter::Filter;
use crate::kernel::running::RunningKernel;
use crate::metrics::collect::SeriesSettings;
use crate::metrics::label_set::LabelSet;
use crate::metrics::series::Bounds;
use crate::metrics::web_config::WebConfig;
use crate::render::output::ColorChoice;

/// The options of the command line and of the file, with defaults for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    listen_insecure: bool,
    web_config: Option<PathBuf>,
    pub(super) interval: Duration,
    series: Bounds,
    offset_label: bool,
    owners: Option<Dimensions>,
    source: Source,
    netns: Option<String>,
    filter: Option<Filter>,
    no_counters: bool,
    map_entries: u32,
    pub(super) history: HistoryOptions,
    pub(super) otlp: OtlpOptions,
    verbose: u8,
}

impl Settings {
    /// Reads the file, if one is named. Options on the command line override it.
    pub(super) fn of(args: &AgentArgs) -> Result<Self> {
        let mut options = args.options.clone();
        if let Some(path) = &args.config {
            let of_file = || format!("--config {}", path.display());
            let mut file = files::read_text(path, MAX_SETTINGS)
                .map_err(Into::into)
                .and_then(|text| parse(&text))
                .with_context(of_file)?;
            // The path is relative to the file that contains it, whatever the agent's working directory.
            let folder = path.parent().unwrap_or(Path::new(""));
            file.web_config = file.web_config.map(|named| folder.join(named));
            file.otlp = file.otlp.within(folder);
            file.history = file.history.within(folder);
            options = options.or(file);
        }
        Ok(Self {
            listen: options.listen.unwrap_or((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()),
            listen_insecure: options.listen_insecure,
            web_config: options.web_config,
            interval: options.interval.unwrap_or(Duration::from_secs(10)),
            series: Bounds {
                limit: options.max_series.unwrap_or(500).into(),
                expire_after: options.expire_after.unwrap_or(Duration::from_hours(1)),
            },
            offset_label: options.offset_label,
            owners: options.owners,
            source: options.source.unwrap_or_default(),
            netns: options.netns,
            filter: options.filter,
            no_counters: options.no_counters,
            map_entries: options.map_entries.unwrap_or_else(default_room),
            history: options.history,
            otlp: options.otlp,
            verbose: args.verbose,
        })
    }

    /// Checks the names in the filter of the file as those of the command line, and warns of interfaces that do not exist.
    pub(super) fn check_names(&self, args: &AgentArgs, kernel: &RunningKernel) -> Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        filter_interfaces::warn_of(filter, self.netns.as_deref());
        match &args.config {
            // Those of the command line were checked before.
            Some(path) if args.options.filter.is_none() => filter_names::check_here(filter, kernel)
                .map_err(|error| anyhow!("invalid filter: {error}"))
                .with_context(|| format!("--config {}", path.display())),
            _ => Ok(()),
        }
    }

    /// Whether the filter is another one.
    pub(super) fn has_other_filter(&self, before: &Self) -> bool {
        self.filter != before.filter
    }

    /// The limits and labels of the series of drops.
    pub(super) fn series_settings(&self) -> SeriesSettings {
        SeriesSettings { series: self.series, label_set: LabelSet::new(self.offset_label, self.owners.as_ref()) }
    }

    /// The options with which only some drops are counted, as on the command line; empty if all are.
    pub(super) fn selection(&self) -> String {
        let netns = self.netns.iter().map(|netns| format!("--netns {netns}"));
        let filter = self.filter.iter().map(|filter| format!("--filter '{}'", filter.text));
        netns.chain(filter).collect::<Vec<_>>().join(" ")
    }

    /// Whether drops are counted by whose packets they were, too.
    pub(super) const fn has_owners(&self) -> bool {
        self.owners.is_some()
    }

    /// Encryption and access control of scrapes.
    ///
    /// # Errors
    /// Fails also if other hosts could read the metrics in clear text, and the user did not allow that.
    pub(super) fn web(&self) -> Result<WebConfig> {
        let web = match &self.web_config {
            Some(path) => WebConfig::read(path).context("--web-config")?,
            None => WebConfig::default(),
        };
        let is_safe = self.listen.ip().is_loopback() || web.tls.is_some() || self.listen_insecure;
        ensure!(
            is_safe,
            "--listen {}: other hosts could read the metrics in clear text; encrypt them through a --web-config with \
             tls_server_config, or say --listen-insecure",
            self.listen
        );
        Ok(web)
    }

    /// The names of the settings that differ from `before` and take effect only at the start.
    pub(super) fn fixed(&self, before: &Self) -> Vec<&'static str> {
        let differs = [
            ("listen", self.listen != before.listen),
            ("max-series", self.series.limit != before.series.limit),
            ("expire-after", self.series.expire_after != before.series.expire_after),
            ("offset-label", self.offset_label != before.offset_label),
            ("owners", self.owners != before.owners),
            ("source", self.source != before.source),
            ("netns", self.netns != before.netns),
            ("filter", self.has_other_filter(before)),
            ("no-counters", self.no_counters != before.no_counters),
            ("map-entries", self.map_entries != before.map_entries),
        ];
        differs
            .into_iter()
            .chain(self.history.fixed(&before.history))
            .chain(self.otlp.fixed(&before.otlp))
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }

    /// The settings after a reload: `new` ones, except those that take effect only at the start.
    pub(super) fn reloaded(&self, new: Self) -> Self {
        let Self { listen_insecure, web_config, interval, verbose, otlp, .. } = new;
        Self { listen_insecure, web_config, interval, verbose, otlp: self.otlp.reloaded(otlp), ..self.clone() }
    }

    /// The same options as options of another command.
    pub(super) fn common(&self) -> CommonArgs {
        CommonArgs {
            no_counters: self.no_counters,
            filter: self.filter.clone(),
            duration: None,
            destination: Destination { file: OutputFile::default(), color: ColorChoice::Never },
            netns: self.netns.clone(),
            interface: None,
            verbose: self.verbose,
            source: self.source,
            net_dm_mode: None,
            mode: Mode::Auto,
            map_entries: self.map_entries,
            max_rows: crate::cli::args::DEFAULT_MAX_ROWS,
        }
    }
}

/// Options in a file are parsed as on the command line.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct InFile {
    #[command(flatten)]
    options: AgentOptions,
}

fn parse(text: &str) -> Result<AgentOptions> {
    let table: Table = text.parse()?;
    let command = InFile::command();
    let known: Vec<&Arg> = command.get_arguments().collect();
    let mut words = vec![];
    for (key, value) in &table {
        let argument = known.iter().find(|argument| argument.get_long() == Some(key));
        let argument = argument.ok_or_else(|| unknown(key, &known))?;
        words.extend(word(key, value, argument.get_action().takes_values())?);
    }
    // The first line has the error; the others are about the usage of the command line.
    let parsed = InFile::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        anyhow!("{}", text.lines().next().unwrap_or(&text).trim_start_matches("error: "))
    })?;
    Ok(parsed.options)
}

/// The command-line form of a key and its value; empty for a switch that is off.
fn word(key: &str, value: &Value, takes_value: bool) -> Result<Option<String>> {
    Ok(match (value, takes_value) {
        (Value::String(text), true) => Some(format!("--{key}={text}")),
        (Value::Integer(number), true) => Some(format!("--{key}={number}")),
        (Value::Boolean(true), false) => Some(format!("--{key}")),
        (Value::Boolean(false), false) => None,
        (_, true) => bail!("`{key}` takes a string or a number"),
        (_, false) => bail!("`{key}` is true or false"),
    })
}

fn unknown(key: &str, known: &[&Arg]) -> anyhow::Error {
    let names: Vec<_> = known.iter().filter_map(|argument| argument.get_long()).collect();
    let nearest = names.iter().min_by_key(|name| strsim::osa_distance(key, name));
    match nearest.filter(|name| strsim::osa_distance(key, name) <= name.len() / 2) {
        Some(name) => anyhow!("unknown key `{key}`; similar: `{name}`"),
        None => anyhow!("unknown key `{key}`; the keys are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
