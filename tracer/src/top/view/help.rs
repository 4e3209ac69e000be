//! The page of the keys.

use ratatui_core::text::Line;

use super::paint::{plain, strong};

/// A line, and whether it belongs to a screen of the present (`Some(false)`), of a time that is over (`Some(true)`), or both.
type Entry = (Option<bool>, &'static str);

const NOW: Option<bool> = Some(false);
const PAST: Option<bool> = Some(true);

const KEYS: [Entry; 18] = [
    (None, "  arrows, j k, PgUp PgDn, Home End   choose a row; Home follows the first one"),
    (None, "  Enter   open the row: its whole key, its last packets, what the reason means"),
    (None, "  Esc     back; from the rows: without the filter"),
    (None, "  /       filter the rows by reason, site, netns, iface, pod, container, cgroup,"),
    (None, "          usual and unusual, with and, or, not: unusual and not netns web"),
    (None, "  s       sort by rate, total, name"),
    (None, "  g       group by reason, site, interface, netns, owner, protocol, or by all"),
    (None, "  x       hide drops that healthy hosts often have; their sum stays"),
    (NOW, "  Space   freeze the screen; the kernel counts on"),
    (NOW, "  r       reset the counts on the screen; the ledger is of the whole run"),
    (NOW, "  c       the command that shows its drops one by one, also on the clipboard"),
    (PAST, "  c       the command for its drops that the agent kept, also on the clipboard"),
    (NOW, "  w       the command that writes its next packets to a file, there as well"),
    (PAST, "  w       the command that writes its kept packets to a file, there as well"),
    (None, "  Ctrl-L  draw the screen again"),
    (None, "  Ctrl-Z  suspend"),
    (NOW, "  q       quit, and print the table of the whole run"),
    (PAST, "  q       quit, and print the table of the whole time"),
];

const COLUMNS: [Entry; 7] = [
    (NOW, "  DROPS/S  since the last reading; rows without new drops are faint"),
    (PAST, "  DROPS/S  the mean of the whole time, as far as it was counted"),
    (NOW, "  2 MIN    the rate over time; each row has a scale of its own"),
    (PAST, "  30 MIN   or another time: the rate over it; a gap in the history is empty"),
    (None, "  USUAL    whether healthy hosts have such drops: often, some, never"),
    (NOW, "  ledger   the drops that droptrace saw, counted and lost"),
    (PAST, "  ledger   the drops that the agent saw, counted and lost"),
];

/// The keys and the columns. `is_past`: of a screen that shows a time that is over.
pub(super) fn lines(is_past: bool) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (title, entries) in [("Keys", &KEYS[..]), ("Columns", &COLUMNS[..])] {
        lines.push(strong(title.to_owned()));
        let fitting = entries.iter().filter(|(of, _)| of.is_none_or(|past| past == is_past));
        lines.extend(fitting.map(|(_, text)| plain((*text).to_owned())));
    }
    lines
}
