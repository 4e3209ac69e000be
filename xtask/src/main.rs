//! Builds, runs and tests droptrace: `cargo xtask --help`.
//!
//! Each subcommand has a file; common parts are in [`support`], and the build of the kernel program is in [`ebpf`].
#![forbid(unsafe_code)]

mod bench;
mod build_ebpf;
mod ci;
mod dist;
mod ebpf;
mod fuzz;
mod image;
mod kernels;
mod kubernetes;
mod run;
mod soak;
mod support;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs and tests droptrace.
///
/// Needs rustup and a C linker. A command that needs more says so, and sets it up in the target folder.
/// Progress goes to stderr.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Test(test::Args),
    BuildEbpf(build_ebpf::Args),
    Ci(ci::Args),
    Bench(bench::Args),
    Vm(vm::Args),
    Kernels(kernels::Args),
    Dist(dist::Args),
    Image(image::Args),
    Kubernetes(kubernetes::Args),
    Fuzz(fuzz::Args),
    Soak(soak::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Test(args) => Ok(test::run(&args)),
        Command::BuildEbpf(args) => build_ebpf::run(&args),
        Command::Ci(args) => Ok(ci::run(&args)),
        Command::Bench(args) => bench::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Kernels(args) => kernels::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Kubernetes(args) => kubernetes::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Soak(args) => soak::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn arguments_fit_together() {
        super::Args::command().debug_assert();
    }
}
