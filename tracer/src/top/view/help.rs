//! The page of the keys.

use ratatui_core::text::Line;

use super::paint::{plain, strong};

const KEYS: [&str; 14] = [
    "  arrows, j k, PgUp PgDn, Home End   choose a row; Home follows the first one",
    "  Enter   open the row: its whole key, its last packets, what the reason means",
    "  Esc     back; from the rows: without the filter",
    "  /       filter the rows by reason, site, netns, iface, pod, container, cgroup,",
    "          usual and unusual, with and, or, not: unusual and not netns web",
    "  s       sort by rate, total, name",
    "  g       group by reason, site, interface, netns, owner, protocol, or by all",
    "  x       hide drops that healthy hosts often have; their sum stays",
    "  Space   freeze the screen; the kernel counts on",
    "  r       reset the counts on the screen; the ledger is of the whole run",
    "  c       the command that shows the drops of the row one by one",
    "  Ctrl-L  draw the screen again",
    "  Ctrl-Z  suspend",
    "  q       quit, and print the table of the whole run",
];

const COLUMNS: [&str; 4] = [
    "  DROPS/S  since the last reading; rows without new drops are faint",
    "  2 MIN    the rate over time; each row has a scale of its own",
    "  USUAL    whether healthy hosts have such drops: often, some, never",
    "  ledger   the drops that droptrace saw, counted and lost",
];

/// The keys and the columns.
pub(super) fn lines() -> Vec<Line<'static>> {
    let text = |text: &'static str| plain(text.to_owned());
    let mut lines = vec![strong("Keys".to_owned())];
    lines.extend(KEYS.map(text));
    lines.push(strong("Columns".to_owned()));
    lines.extend(COLUMNS.map(text));
    lines
}
