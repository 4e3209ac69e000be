//! Analyses a fleet, and shows the report in the outputs that were asked for.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use droptrace_base::command::Format;
use droptrace_base::outside::to_json;
use droptrace_base::render::html::{Maker, Secrets};
use droptrace_base::render::output::Output;

use super::args::ShowArgs;
use crate::analyse::By;
use crate::model::Fleet;
use crate::report::{Input, Report};
use crate::sink::{TextOptions, write_html, write_text};

/// The exit status if there are findings.
pub(super) const FOUND: u8 = 3;

/// The option whose value may authenticate a request.
const SECRETS: Secrets<'_> = Secrets(&["--header"]);

/// The outputs of the results.
pub(super) struct Show<'a> {
    args: &'a ShowArgs,
    output: Output,
    page: Option<Output>,
}

impl<'a> Show<'a> {
    /// Opens the outputs, which must not be inputs, nor the same file.
    pub(super) fn open<'i>(args: &'a ShowArgs, inputs: impl IntoIterator<Item = &'i Path>) -> Result<Self> {
        let (output, page) = Output::open_apart(args.file.output.as_deref(), args.html.as_deref(), inputs)?;
        Ok(Self { args, output, page })
    }

    /// Analyses the fleet, and shows the report.
    pub(super) fn fleet(mut self, fleet: &Fleet, input: Input) -> Result<ExitCode> {
        let options = self.args.options();
        check(&options.by, fleet)?;
        let report = Report::of(fleet, input, &options);
        // The page is written first, so that it is complete even if the reader of the results stops early.
        if let Some(page) = &mut self.page {
            let program = concat!("droptrace-fleet ", env!("CARGO_PKG_VERSION")).to_owned();
            write_html(page, &report, &Maker::here(program, SECRETS))?;
            page.finish()?;
        }
        match self.args.format {
            Format::Text => {
                let options = self.text();
                write_text(&mut self.output, &report, options)?;
            }
            Format::Json => {
                to_json(&mut self.output, &report)?;
                writeln!(self.output)?;
            }
        }
        self.output.finish()?;
        Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { FOUND.into() })
    }

    fn text(&self) -> TextOptions {
        TextOptions {
            width: self.output.size()().width,
            color: self.output.wants_color(self.args.color),
            top: if self.args.top == 0 { usize::MAX } else { self.args.top },
        }
    }
}

/// A label that no host has is a mistake: all hosts would be one group.
pub(super) fn check(by: &[By], fleet: &Fleet) -> Result<()> {
    let labels = || fleet.hosts().iter().flat_map(|host| host.labels.keys());
    for label in by {
        if let By::Label(label) = label
            && !labels().any(|known| known == label)
        {
            let mut known: Vec<_> = labels().map(String::as_str).collect();
            known.sort_unstable();
            known.dedup();
            bail!("no host has the label {label}; there are: kernel, class, backend, {}", known.join(", "));
        }
    }
    Ok(())
}
