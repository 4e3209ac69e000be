//! Rows and records have true facts, or no value: for names that the kernel uses again, for packets whose fields hold
//! other values by then, and for packets that the kernel has taken apart.
//!
//! The tests run one at a time: where the kernel does not report the namespace of a packet, every trace shows it.

mod faults;
mod flow_processes;
mod flows;
mod hidden;
mod kernel_log;
mod owners;
mod peers;
mod processes;
mod recordings;
mod records;
mod residents;
mod rows;
mod stacks;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    let all = [
        faults::trials(),
        flow_processes::trials(),
        flows::trials(),
        hidden::trials(),
        kernel_log::trials(),
        owners::trials(),
        peers::trials(),
        processes::trials(),
        recordings::trials(),
        records::trials(),
        residents::trials(),
        rows::trials(),
        stacks::trials(),
    ];
    trials::run_one_by_one(all.into_iter().flatten().collect())
}
