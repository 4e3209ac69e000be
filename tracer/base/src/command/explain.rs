//! `droptrace explain` and `droptrace-fleet explain`: what a drop reason or a kernel counter means and what to do about it.
//! The command needs no capabilities and no kernel.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;

use super::{Format, OutputFile};
use crate::explain::{self, Counter, Counters, Explanations};
use crate::render::output::Output;

/// Options of `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Name of the drop reason, as droptrace shows it, or its number in the running kernel; or name of a kernel counter of drops
    /// [default: list all]
    #[arg(value_name = "REASON")]
    pub reason: Option<String>,

    /// Form of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Where the results go.
    #[command(flatten)]
    pub file: OutputFile,
}

/// Explains one reason or counter, or lists all of them. An unknown name is an error, whose message offers similar names.
pub fn explain(args: &ExplainArgs, program: &str) -> Result<()> {
    let explanations =
        Explanations::built_in().context("the built-in explanations cannot be read, which is a fault of droptrace")?;
    let counters =
        Counters::built_in().context("the built-in counters cannot be read, which is a fault of droptrace")?;
    if let Some((name, counter)) = args.reason.as_deref().and_then(|asked| counters.get(asked)) {
        return show_counter(args, name, counter);
    }
    let found = args
        .reason
        .as_deref()
        .map(|asked| explanations.get(asked).ok_or_else(|| unknown(&explanations, &counters, asked, program)));
    let found = found.transpose()?;
    let mut output = Output::open(args.file.output.as_deref())?;
    let width = output.size()().width;
    match (args.format, found) {
        (Format::Text, Some((name, explanation))) => explain::write_text(&mut output, name, explanation, width)?,
        (Format::Json, Some((name, explanation))) => explain::write_json(&mut output, name, explanation)?,
        (Format::Text, None) => {
            explain::write_list(&mut output, &explanations, width)?;
            writeln!(output)?;
            explain::write_counter_list(&mut output, &counters, width)?;
        }
        (Format::Json, None) => {
            explain::write_all_json(&mut output, &explanations)?;
            counters.iter().try_for_each(|(name, counter)| explain::write_counter_json(&mut output, name, counter))?;
        }
    }
    output.flush()?;
    Ok(())
}

fn show_counter(args: &ExplainArgs, name: &str, counter: &Counter) -> Result<()> {
    let mut output = Output::open(args.file.output.as_deref())?;
    let width = output.size()().width;
    match args.format {
        Format::Text => explain::write_counter_text(&mut output, name, counter, width)?,
        Format::Json => explain::write_counter_json(&mut output, name, counter)?,
    }
    output.flush()?;
    Ok(())
}

fn unknown(explanations: &Explanations, counters: &Counters, asked: &str, program: &str) -> anyhow::Error {
    let moving = explanations.moving(asked);
    if !moving.is_empty() {
        return anyhow!(
            "{asked} is a kernel counter, not a drop reason; reasons that increase it: {}",
            moving.join(", ")
        );
    }
    if asked.bytes().all(|byte| byte.is_ascii_digit()) && !asked.is_empty() {
        return anyhow!(
            "{asked} is a number, and the numbers of drop reasons differ from kernel to kernel; `droptrace explain \
             {asked}` on the host looks the name up"
        );
    }
    let near = explain::nearest_names(explanations, counters, asked);
    match near.as_slice() {
        [] => {
            anyhow!("unknown drop reason or counter {asked:?}; `{program} explain` lists all reasons and counters")
        }
        near => anyhow!("unknown drop reason or counter {asked:?}; similar names: {}", near.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_name_is_an_error_with_similar_names() {
        let (explanations, counters) = (Explanations::built_in().unwrap(), Counters::built_in().unwrap());
        let unknown = |asked, program| unknown(&explanations, &counters, asked, program);
        let near = unknown("socket_rcvbuf", "droptrace").to_string();
        assert!(near.contains("\"socket_rcvbuf\"") && near.contains("similar names: SOCKET_RCVBUFF"), "{near}");
        let number = unknown("6", "droptrace-fleet").to_string();
        assert!(number.starts_with("6 is a number") && number.contains("`droptrace explain 6`"), "{number}");
        let far = unknown("xyzzy", "droptrace").to_string();
        assert!(far.ends_with("`droptrace explain` lists all reasons and counters"), "{far}");
        let mistyped = unknown("TcpExtListnDrops", "droptrace").to_string();
        assert!(mistyped.contains("similar names: TcpExtListenDrops"), "{mistyped}");
        for counter in ["xfrm:XfrmInPolBlock", "xfrminpolblock"] {
            let counter = unknown(counter, "droptrace").to_string();
            assert!(
                counter.contains("is a kernel counter") && counter.contains("reasons that increase it: "),
                "{counter}"
            );
        }
    }
}
