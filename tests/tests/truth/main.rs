//! Rows and records say what is so, or that it is not known: under names that the kernel uses again, of packets whose
//! fields hold something else by then, and of packets that the kernel has taken apart.

mod records;
mod rows;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    trials::run([records::trials(), rows::trials()].into_iter().flatten().collect())
}
