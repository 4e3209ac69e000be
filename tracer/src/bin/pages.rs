//! `droptrace-pages MAN COMPLETIONS`: writes manual pages into one folder and completions for shells into another, from
//! the command lines as `droptrace` and `droptrace-fleet` understand them. Nobody installs it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _, Parser};
use clap_complete::Shell;
use droptrace_fleet::cli::args::Cli as FleetCli;
use tracer::cli::args::Cli;

/// Writes manual pages and completions of droptrace and droptrace-fleet.
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
    made(&args.completions)?;
    for program in [Cli::command(), FleetCli::command()] {
        write(program, &args)?;
    }
    Ok(())
}

fn write(mut program: Command, Args { man, completions }: &Args) -> Result<()> {
    clap_mangen::generate_to(in_full(program.clone()), man)
        .with_context(|| format!("cannot write manual pages into {}", man.display()))?;
    let name = program.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut program, &name, completions)
            .with_context(|| format!("cannot write completions for {shell} into {}", completions.display()))?;
    }
    Ok(())
}

/// Pages have room for what the short help leaves out.
fn in_full(command: Command) -> Command {
    command.mut_args(|argument| argument.hide_short_help(false)).mut_subcommands(in_full)
}
