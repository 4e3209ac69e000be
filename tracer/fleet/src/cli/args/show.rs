//! Options of how a fleet is analysed and shown.

use std::path::PathBuf;

use clap::Args;
use droptrace_base::command::{Format, OutputFile};
use droptrace_base::render::output::ColorChoice;
use droptrace_base::render::units;

use crate::analyse::{By, Options};

/// The name for no group at all.
const NOTHING: &str = "nothing";

/// Options of how a fleet is analysed and shown.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Where the results go.
    #[command(flatten)]
    pub file: OutputFile,

    /// Also write the results to this file as a self-contained page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// When to use colours
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    #[arg(help = "Use colours; auto: on a terminal, unless the environment has NO_COLOR")]
    pub color: ColorChoice,

    /// Number of reasons in text output, 0 for all
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = units::count)]
    pub top: usize,

    /// The thresholds of findings.
    #[command(flatten)]
    pub bounds: BoundArgs,
}

/// The thresholds of findings.
#[derive(Args, Clone, Debug)]
pub struct BoundArgs {
    /// Compare hosts with those that have the same: kernel, class (of interface), backend (capture backend), a label such as
    /// driver, version, build, filter or folder, or nothing; may be given more than once
    #[arg(long, value_name = "WHAT", default_value = "kernel", value_parser = group)]
    pub by: Vec<String>,

    /// Of the hosts and groups that stand out, this share may be wrong (false-discovery rate)
    #[arg(long, value_name = "SHARE", default_value_t = Options::default().false_discoveries, value_parser = share)]
    pub false_discoveries: f64,

    /// A host or a group stands out only if it drops at least this many times what is expected
    #[arg(long, value_name = "TIMES", default_value_t = Options::default().min_times, value_parser = from_one)]
    pub min_times: f64,

    /// A host with fewer drops than this, of the same reason, does not stand out
    #[arg(long, value_name = "N", default_value_t = Options::default().min_host_packets, value_parser = above_zero)]
    pub min_host_packets: f64,

    /// Drops are far more than before if they are this many times those of the baseline
    #[arg(long, value_name = "TIMES", default_value_t = Options::default().growth, value_parser = above_zero)]
    pub growth: f64,

    /// Fewer drops than this are not a finding
    #[arg(long, value_name = "N", default_value_t = Options::default().min_packets, value_parser = above_zero)]
    pub min_packets: f64,

    /// Fewer hosts than this cannot be compared with one another
    #[arg(long, value_name = "N", default_value_t = Options::default().min_hosts, value_parser = hosts)]
    pub min_hosts: usize,

    /// Fewer drops per second than this are not a storm
    #[arg(long, value_name = "RATE", default_value_t = Options::default().storm_rate, value_parser = above_zero)]
    pub storm_rate: f64,

    /// Name at most this many hosts in each finding; the others are counted
    #[arg(long, value_name = "N", default_value_t = Options::default().named)]
    #[arg(value_parser = units::number::<usize>(0..=1_000_000))]
    pub named: usize,
}

impl BoundArgs {
    /// The thresholds of the analysis.
    pub fn options(&self) -> Options {
        let by = self.by.iter().map(String::as_str).filter(|name| *name != NOTHING);
        Options {
            by: by.map(By::from).collect(),
            min_packets: self.min_packets,
            min_hosts: self.min_hosts,
            false_discoveries: self.false_discoveries,
            min_times: self.min_times,
            min_host_packets: self.min_host_packets,
            growth: self.growth,
            storm_rate: self.storm_rate,
            named: self.named,
        }
    }
}

fn group(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("not a name: write kernel, class, backend, nothing or a label".into())
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "write a number greater than zero".into())
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && *number < 1.0);
    number.ok_or_else(|| "write a number between zero and one, such as 0.01".into())
}

fn from_one(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 1.0);
    number.ok_or_else(|| "write a number, 1 or more".into())
}

/// Among fewer than three hosts none can stand out.
fn hosts(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number >= 3).ok_or_else(|| "write a whole number, 3 or more".into())
}

impl ShowArgs {
    /// The thresholds of the analysis.
    pub fn options(&self) -> Options {
        self.bounds.options()
    }
}
