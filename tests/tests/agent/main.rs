//! `droptrace agent`: what is scraped is what the kernel dropped, and whoever treats it badly does no harm.

mod counts;
mod ends;
mod hostile;
mod web;

use std::process::ExitCode;

use tests::trials;

fn main() -> ExitCode {
    trials::run([counts::trials(), ends::trials(), hostile::trials(), web::trials()].into_iter().flatten().collect())
}
