//! Common parts of HTML pages with results. The pages load nothing from elsewhere.

use std::fmt;
use std::io::{self, Write};

use crate::outside::printable_lines;

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem; white-space: nowrap; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
td:last-child { white-space: normal; }
svg { max-width: 100%; height: auto; }
code { font-size: 0.85rem; white-space: pre-wrap; }";

/// Writes the page up to the first paragraph.
pub fn write_head(out: &mut impl Write, title: &str) -> io::Result<()> {
    let title = Escaped(title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}\n</style>\n<h1>{title}</h1>"
    )
}

/// Writes a row of a table, of cells `th` or `td`.
pub fn write_row<'c>(out: &mut impl Write, tag: &str, cells: impl Iterator<Item = &'c str>) -> io::Result<()> {
    write!(out, "<tr>")?;
    for cell in cells {
        write!(out, "<{tag}>{}</{tag}>", Escaped(cell))?;
    }
    writeln!(out, "</tr>")
}

/// Text that is escaped for a page.
pub struct Escaped<'t>(pub &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in printable_lines(self.0).split_inclusive(['&', '<', '>', '"']) {
            let (text, special) = match part.chars().next_back() {
                Some(special @ ('&' | '<' | '>' | '"')) => (&part[..part.len() - 1], Some(special)),
                _ => (part, None),
            };
            f.write_str(text)?;
            f.write_str(match special {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some(_) => "&quot;",
                None => "",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(Escaped("a<b> & \"c\"é").to_string(), "a&lt;b&gt; &amp; &quot;c&quot;é");
    }
}
