//! Writes a table as text, with each column as wide as its widest cell.

use std::io::{self, Write};

use crate::outside::printable;

/// Writes rows of equal length; the first row has the headings. The columns in `right` are aligned to the right, and
/// the last column is not padded.
pub(in crate::cli) fn write<const N: usize>(
    out: &mut impl Write,
    indent: usize,
    right: [bool; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let mut line = " ".repeat(indent);
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let filled = if right[column] { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            line.push_str(&filled);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
