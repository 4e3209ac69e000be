//! Parts of the pages with results. A page loads nothing from elsewhere: its style, its plots and the few lines of script
//! that sort its tables are in it, and without the script it shows the same.

pub mod plot;

mod command;

use std::fmt;
use std::io::{self, Write};
use std::time::SystemTime;

pub use command::Secrets;

use crate::domain::event::Timestamp;
use crate::outside::printable_lines;
use crate::render::time::TimeText;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How much something matters, which its colour shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Without a colour.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Worth knowing.
    Notice,
    /// Needs a look.
    Warning,
    /// Needs a look first.
    Critical,
}

impl Level {
    const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A number of the summary, under its name.
pub struct Card<'c> {
    /// The name.
    pub name: &'c str,
    /// The number, with its unit.
    pub value: String,
    /// How much it matters.
    pub level: Level,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column<'c> {
    /// The heading.
    pub name: &'c str,
    /// Whether the cells are numbers, which are aligned at the right and sorted by value.
    pub number: bool,
}

/// What made a page, and when.
pub struct Maker {
    /// The program and its version.
    pub program: String,
    /// The command line, without its secrets.
    pub command: String,
    /// The time.
    pub at: Timestamp,
}

impl Maker {
    /// This process, now.
    pub fn here(program: String, secrets: Secrets<'_>) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(u64::try_from(since.as_nanos()).unwrap_or_default());
        Self { program, command: secrets.command(), at }
    }
}

/// Writes the page up to the summary: the title, and sentences about the results.
pub fn write_head(out: &mut impl Write, title: &str, lead: &[String]) -> io::Result<()> {
    let title = Escaped(title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<div class=\"lead\">"
    )?;
    for line in lead {
        writeln!(out, "<p>{}</p>", Escaped(line))?;
    }
    writeln!(out, "</div>\n</header>\n<main>")
}

/// Writes the summary.
pub fn write_cards(out: &mut impl Write, cards: &[Card<'_>]) -> io::Result<()> {
    writeln!(out, "<dl class=\"cards\">")?;
    for Card { name, value, level } in cards {
        let (class, name, value) = (level.class(), Escaped(name), Escaped(value));
        writeln!(out, "<div class=\"card {class}\"><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    writeln!(out, "</dl>")
}

/// A word in the colour of its level.
pub fn badge(level: Level, word: &str) -> String {
    format!("<span class=\"badge {}\">{}</span>", level.class(), Escaped(word))
}

/// Writes the start of a finding, which `</article>` ends.
pub fn write_finding(out: &mut impl Write, level: Level) -> io::Result<()> {
    writeln!(out, "<article class=\"finding {}\">", level.class())
}

/// Writes names and values, a line for each pair.
pub fn write_facts(out: &mut impl Write, facts: &[(&str, String)]) -> io::Result<()> {
    writeln!(out, "<dl class=\"facts\">")?;
    for (name, value) in facts {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Escaped(value))?;
    }
    writeln!(out, "</dl>")
}

/// Writes a list of sentences, or nothing if there are none.
pub fn write_list(out: &mut impl Write, lines: &[String]) -> io::Result<()> {
    write_items(out, lines, |line| Escaped(line).to_string())
}

/// Writes a list of commands, or nothing if there are none.
pub fn write_commands(out: &mut impl Write, commands: &[impl AsRef<str>]) -> io::Result<()> {
    write_items(out, commands, |command| format!("<code>{}</code>", Escaped(command.as_ref())))
}

fn write_items<T>(out: &mut impl Write, items: &[T], show: impl Fn(&T) -> String) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "<ul>")?;
    for item in items {
        writeln!(out, "<li>{}</li>", show(item))?;
    }
    writeln!(out, "</ul>")
}

/// Writes a plot with the sentence under it.
pub fn write_figure(out: &mut impl Write, caption: &str, svg: &str) -> io::Result<()> {
    let caption = Escaped(caption);
    let named = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{caption}\" "), 1);
    writeln!(out, "<figure>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Plot: {caption}\">")?;
    writeln!(out, "{}</div>\n<figcaption>{caption}</figcaption>\n</figure>", named.trim_end())
}

/// Writes a table that can be sorted. `caption` is its name for those who do not see it.
pub fn write_table<'c>(
    out: &mut impl Write,
    caption: &str,
    columns: &[Column<'_>],
    rows: impl IntoIterator<Item = Vec<&'c str>>,
) -> io::Result<()> {
    let caption = Escaped(caption);
    writeln!(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: {caption}\">\n<table>")?;
    write!(out, "<thead>\n<tr>")?;
    for column in columns {
        let name = Escaped(column.name);
        write!(out, "<th scope=\"col\"{}><button type=\"button\">{name}</button></th>", class(*column))?;
    }
    writeln!(out, "</tr>\n</thead>\n<tbody>")?;
    for row in rows {
        write!(out, "<tr>")?;
        for (column, cell) in columns.iter().zip(row) {
            write!(out, "<td{}>{}</td>", class(*column), Escaped(cell))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody>\n</table>\n</div>")
}

const fn class(column: Column<'_>) -> &'static str {
    if column.number { " class=\"number\"" } else { "" }
}

/// Writes the end of the page: the program, the time, and the command.
pub fn write_foot(out: &mut impl Write, maker: &Maker) -> io::Result<()> {
    let at = TimeText::new(maker.at);
    let (program, date, time) = (Escaped(&maker.program), at.date(), &at.time_of_day()[..8]);
    writeln!(out, "</main>\n<footer>\n<p>Made by {program} on {date} at {time} UTC.</p>")?;
    writeln!(out, "<p><code>{}</code></p>\n</footer>", Escaped(&maker.command))?;
    writeln!(out, "<script>\n{SCRIPT}</script>\n</body>\n</html>")
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

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(Escaped("a<b> & \"c\"é").to_string(), "a&lt;b&gt; &amp; &quot;c&quot;é");
    }

    #[test]
    fn a_page_closes_what_it_opens() {
        let columns = [Column { name: "<N>", number: true }, Column { name: "WHAT", number: false }];
        let page = written(|out| {
            write_head(out, "<title>", &["<lead>".into()])?;
            write_cards(out, &[Card { name: "<card>", value: "<1>".into(), level: Level::Critical }])?;
            write_finding(out, Level::Warning)?;
            write_facts(out, &[("<fact>", "<value>".into())])?;
            write_list(out, &["<line>".into()])?;
            write_commands(out, &["ip <link>"])?;
            writeln!(out, "</article>")?;
            write_figure(out, "<plot>", "<svg width=\"1\"></svg>\n")?;
            write_table(out, "<table>", &columns, [vec!["1", "<cell>"]])?;
            let (program, command) = ("droptrace <1>".into(), "a <command>".into());
            write_foot(out, &Maker { program, command, at: Timestamp(0) })
        });
        for tag in ["html", "head", "body", "main", "dl", "article", "figure", "table", "tbody", "script", "footer"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}: {page}");
            assert!(opened > 0, "{tag}");
        }
        for hostile in
            ["<lead>", "<card>", "<1>", "<fact>", "<value>", "<line>", "<link>", "<plot>", "<cell>", "<N>", "<command>"]
        {
            assert!(!page.contains(hostile), "{hostile}");
        }
    }

    #[test]
    fn lists_without_items_are_left_out() {
        assert_eq!(written(|out| write_list(out, &[])), "");
    }

    #[test]
    fn a_plot_has_a_name() {
        let page = written(|out| write_figure(out, "\"a\"", "<svg width=\"1\"></svg>"));
        assert!(page.contains("<svg role=\"img\" aria-label=\"&quot;a&quot;\" width=\"1\">"), "{page}");
    }
}
