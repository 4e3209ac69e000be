use super::report::Report;
use std::io::{self, Write};
/// x
pub fn write_html(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(out, "{report:?}")
}
