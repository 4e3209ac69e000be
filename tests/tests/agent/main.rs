//! `droptrace agent`: its scrapes equal the kernel's counts, and hostile clients do no harm.

mod counts;
mod ends;
mod hostile;
mod owners;
mod supervisor;
mod web;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    trials::run(
        [counts::trials(), ends::trials(), hostile::trials(), owners::trials(), supervisor::trials(), web::trials()]
            .into_iter()
            .flatten()
            .collect(),
    )
}
