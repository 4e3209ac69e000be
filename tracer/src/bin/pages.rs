//! `droptrace-pages MAN COMPLETIONS`: writes manual pages into one folder and completions for shells into another, from
//! the command line as `droptrace` understands it. Nobody installs it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _, Parser};
use clap_complete::Shell;
use tracer::cli::args::Cli;

/// Writes manual pages and completions of droptrace.
#[derive(Parser)]
struct Args {
    /// Folder for the manual pages
    man: PathBuf,
    /// Folder for the completions
    completions: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let made =
        |folder: &Path| fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()));
    made(&args.man)?;
    clap_mangen::generate_to(in_full(Cli::command()), &args.man)
        .with_context(|| format!("cannot write manual pages into {}", args.man.display()))?;
    made(&args.completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "droptrace", &args.completions)
            .with_context(|| format!("cannot write completions for {shell} into {}", args.completions.display()))?;
    }
    Ok(())
}

/// Pages have room for what the short help leaves out.
fn in_full(command: Command) -> Command {
    command.mut_args(|argument| argument.hide_short_help(false)).mut_subcommands(in_full)
}
