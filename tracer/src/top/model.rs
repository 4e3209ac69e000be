//! The state of the screen, and how keys and readings change it.

use std::sync::Arc;

use crate::advice::{Selection, capture_command, command};
use crate::dimension::Dimensions;
use crate::domain::event::NamedKey;
use crate::domain::report::StatReport;
use crate::filter::{Filter, FilterError};
use crate::pipeline::group::GroupKey;

use super::history::{Entry, History, Reading};
use super::keys::Action;
use super::knowledge::Knowledge;
use super::sheet::{Look, Order, Row, Sheet, WHO, default_dimensions, grouper};

/// What covers the rows, or stands beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Page {
    /// The rows.
    #[default]
    Rows,
    /// One row with all that is known of it, from this line on.
    Opened(usize),
    /// The keys, from this line on.
    Help(usize),
    /// The command that shows the drops of the row, or writes its packets.
    Command(String),
    /// The text of a filter that is typed, and what is wrong with it.
    Filter(String, Option<String>),
}

/// What a run of the screen is asked to do beside drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Draw again.
    Draw,
    /// Draw again, and put this text on the clipboard.
    Copy(String),
    /// Draw all cells again.
    Redraw,
    /// Stop the process until it is continued.
    Suspend,
    /// End the run.
    Quit,
}

/// Checks a filter beyond its grammar: names that mean nothing on this host.
pub(crate) trait CheckFilter {
    /// Fails with what is wrong.
    fn check(&self, filter: &Filter) -> Result<(), FilterError>;
}

/// The state of the screen.
#[derive(Debug)]
pub(crate) struct Model {
    knowledge: Knowledge,
    selection: Selection,
    history: History,
    live: Option<Reading>,
    /// The reading that a frozen screen shows.
    frozen: Option<Reading>,
    look: Look,
    /// The ways to group that the key `g` goes through, and the present one.
    groups: Vec<Dimensions>,
    group: usize,
    sheet: Sheet,
    /// The row that the user chose, which the cursor follows.
    chosen: Option<Arc<GroupKey>>,
    cursor: usize,
    /// First row on the screen.
    offset: usize,
    /// Rows on the screen.
    height: usize,
    page: Page,
    /// The screen has no room for rows.
    is_too_small: bool,
}

impl Model {
    /// A screen without a reading. `by`: the first way to group; absent for [`default_dimensions`].
    pub(crate) fn new(knowledge: Knowledge, selection: Selection, by: Option<&Dimensions>) -> Self {
        let groups = groups(by);
        let look =
            Look { grouper: grouper(groups[0].clone()), order: Order::default(), hides_usual: false, filter: None };
        Self {
            knowledge,
            selection,
            history: History::default(),
            live: None,
            frozen: None,
            look,
            groups,
            group: 0,
            sheet: Sheet::default(),
            chosen: None,
            cursor: 0,
            offset: 0,
            height: 1,
            page: Page::default(),
            is_too_small: false,
        }
    }

    /// Takes the totals so far.
    pub(crate) fn read(&mut self, report: &StatReport) {
        self.live = Some(self.history.read(report));
        if self.frozen.is_none() {
            self.update();
        }
    }

    /// Passes over the time of so many readings, in which nothing is known.
    pub(crate) const fn skip(&mut self, readings: u64) {
        self.history.skip(readings);
    }

    /// Takes the totals of a time that is over, after the parts of it. `home_netns`: the agent's network namespace.
    pub(crate) fn read_past(&mut self, report: &StatReport, home_netns: u32) {
        self.live = Some(self.history.read(report).with_mean_rates());
        self.knowledge.set_home(home_netns);
        self.update();
    }

    /// Whether a time that is over is shown.
    pub(crate) const fn is_past(&self) -> bool {
        !self.selection.past.is_empty()
    }

    /// Does what a key asks for. On a screen that is too small for rows, nobody sees what other keys than these would do.
    pub(crate) fn act(&mut self, action: Action, check: &impl CheckFilter) -> Request {
        if self.is_too_small && !matches!(action, Action::Quit | Action::Suspend | Action::Redraw | Action::Help) {
            return Request::Draw;
        }
        match action {
            Action::Quit => return Request::Quit,
            Action::Suspend => return Request::Suspend,
            Action::Redraw => return Request::Redraw,
            Action::Move(rows) => self.go(rows),
            Action::Page(pages) => self.go(pages.saturating_mul(self.height.max(1).cast_signed())),
            Action::First => self.go(isize::MIN),
            Action::Last => self.go(isize::MAX),
            Action::Open => self.open(check),
            Action::Back => self.back(),
            Action::Help => self.page = if matches!(self.page, Page::Help(_)) { Page::Rows } else { Page::Help(0) },
            Action::Filter => self.page = Page::Filter(self.filter().unwrap_or_default().to_owned(), None),
            Action::Command => return self.offer(self.command()),
            Action::Capture => return self.offer(self.capture()),
            Action::Type(_) | Action::Erase | Action::EraseAll => self.edit(action),
            // Nothing moves that could be stopped.
            Action::Freeze | Action::Reset if self.is_past() => {}
            Action::Sort | Action::Group | Action::Usual | Action::Freeze | Action::Reset => self.change(action),
        }
        Request::Draw
    }

    /// Shows a command, which goes to the clipboard as one line, however the screen wraps it.
    fn offer(&mut self, command: Option<String>) -> Request {
        self.page = command.clone().map_or(Page::Rows, Page::Command);
        command.map_or(Request::Draw, Request::Copy)
    }

    fn change(&mut self, action: Action) {
        match action {
            Action::Sort => self.look.order = self.look.order.next(),
            Action::Group => {
                self.group = (self.group + 1) % self.groups.len();
                self.look.grouper = grouper(self.groups[self.group].clone());
                (self.chosen, self.cursor) = (None, 0);
                if matches!(self.page, Page::Opened(_) | Page::Command(_)) {
                    self.page = Page::Rows;
                }
            }
            Action::Usual => self.look.hides_usual ^= true,
            Action::Freeze => self.frozen = if self.frozen.is_some() { None } else { self.live.clone() },
            _ => {
                self.history.reset();
                self.frozen = None;
                self.live.iter_mut().for_each(Reading::reset);
            }
        }
        self.update();
    }

    fn edit(&mut self, action: Action) {
        let Page::Filter(text, problem) = &mut self.page else { return };
        *problem = None;
        match action {
            Action::Type(c) => text.push(c),
            Action::Erase => _ = text.pop(),
            _ => text.clear(),
        }
    }

    fn open(&mut self, check: &impl CheckFilter) {
        match &self.page {
            Page::Rows | Page::Command(_) if self.row().is_some() => {
                self.chosen = self.row().map(|row| Arc::clone(&row.of));
                self.page = Page::Opened(0);
            }
            Page::Filter(text, _) => match parse_filter(text, self.is_past(), check) {
                Ok(filter) => {
                    self.look.filter = filter;
                    self.page = Page::Rows;
                    self.update();
                }
                Err(problem) => self.page = Page::Filter(text.clone(), Some(problem)),
            },
            _ => {}
        }
    }

    /// Closes what is open; of the rows alone, takes back the filter.
    fn back(&mut self) {
        if self.page == Page::Rows {
            (self.look.filter, self.chosen, self.cursor) = (None, None, 0);
            self.update();
        }
        self.page = Page::Rows;
    }

    fn go(&mut self, rows: isize) {
        match &mut self.page {
            Page::Opened(line) | Page::Help(line) => *line = line.saturating_add_signed(rows),
            Page::Filter(..) => {}
            Page::Rows | Page::Command(_) => {
                self.page = Page::Rows;
                let last = self.sheet.rows.len().saturating_sub(1);
                self.cursor = self.cursor.saturating_add_signed(rows).min(last);
                // The cursor at the top stays at the top, whichever row comes there.
                let row = self.sheet.rows.get(self.cursor).filter(|_| self.cursor > 0);
                self.chosen = row.map(|row| Arc::clone(&row.of));
            }
        }
    }

    fn update(&mut self) {
        let Some(reading) = self.frozen.as_ref().or(self.live.as_ref()) else { return };
        self.sheet = Sheet::of(reading, &mut self.look, &self.knowledge);
        let is_chosen = |row: &Row| self.chosen.as_ref() == Some(&row.of);
        let found = self.chosen.as_ref().and_then(|_| self.sheet.rows.iter().position(is_chosen));
        if found.is_none() && matches!(self.page, Page::Opened(_)) {
            self.page = Page::Rows;
        }
        self.cursor = found.unwrap_or(self.cursor).min(self.sheet.rows.len().saturating_sub(1));
    }

    /// Takes the number of rows that fit on the screen, and of lines below the first of an opened page.
    pub(crate) fn fit(&mut self, height: usize, lines_below: usize) {
        self.height = height;
        if let Page::Opened(line) | Page::Help(line) = &mut self.page {
            *line = (*line).min(lines_below);
        }
        let last = self.sheet.rows.len().saturating_sub(height);
        let first = (self.cursor + 1).saturating_sub(height);
        self.offset = self.offset.clamp(first, self.cursor.max(first)).min(last);
    }

    /// Takes whether the screen has room for rows.
    pub(crate) const fn set_too_small(&mut self, is_too_small: bool) {
        self.is_too_small = is_too_small;
    }

    /// The reading on the screen.
    pub(crate) fn reading(&self) -> Option<&Reading> {
        self.frozen.as_ref().or(self.live.as_ref())
    }

    /// The rows on the screen.
    pub(crate) const fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    /// Which rows are shown, and how.
    pub(crate) const fn look(&self) -> &Look {
        &self.look
    }

    /// Explanations.
    pub(crate) const fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// What covers the rows.
    pub(crate) const fn page(&self) -> &Page {
        &self.page
    }

    /// Whether the screen is frozen.
    pub(crate) const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether characters belong to a text.
    pub(crate) const fn is_typing(&self) -> bool {
        !self.is_too_small && matches!(self.page, Page::Filter(..))
    }

    /// The number of the chosen row, and of the first on the screen.
    pub(crate) const fn position(&self) -> (usize, usize) {
        (self.cursor, self.offset)
    }

    /// The filter in the kernel.
    pub(crate) const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The text of the screen's filter.
    pub(crate) fn filter(&self) -> Option<&str> {
        self.look.filter.as_ref().map(|filter| &*filter.text)
    }

    /// How the rows are grouped; absent where nothing was asked for.
    pub(crate) fn grouped(&self) -> Option<&Dimensions> {
        Some(self.look.grouper.by()).filter(|by| **by != default_dimensions())
    }

    /// The chosen row.
    pub(crate) fn row(&self) -> Option<&Row> {
        self.sheet.rows.get(self.cursor)
    }

    /// The aggregation keys of the chosen row.
    pub(crate) fn entries(&self) -> Vec<&Entry> {
        let (Some(row), Some(reading)) = (self.row(), self.reading()) else { return vec![] };
        let shown = |key: &NamedKey| {
            let matches = self.look.filter.as_ref().is_none_or(|filter| self.knowledge.matches(filter, key));
            matches && !(self.look.hides_usual && self.knowledge.is_usual(key))
        };
        let is_of_row = |entry: &&Entry| {
            let key = &entry.total.key;
            entry.total.packets > 0 && self.look.grouper.is_of(key, &row.of) && shown(key)
        };
        reading.entries.iter().filter(is_of_row).collect()
    }

    /// The command that shows the drops of the chosen row.
    pub(crate) fn command(&self) -> Option<String> {
        self.row().map(|row| command(&row.total.key, row.has_sockets, &self.selection))
    }

    /// The command that writes the next packets of the chosen row to a file.
    fn capture(&self) -> Option<String> {
        self.row().map(|row| capture_command(&row.total.key, row.has_sockets, &self.selection))
    }
}

/// The ways to group: what was asked for, each dimension that rows have by themselves, and those that were asked for.
fn groups(by: Option<&Dimensions>) -> Vec<Dimensions> {
    let first = by.cloned().unwrap_or_else(default_dimensions);
    let single = ["reason", "site", "interface", "netns"].map(|name| Dimensions::named(&[name]));
    let of_flows =
        first.iter().filter(|dimension| dimension.flow_fact() != 0).map(|it| Dimensions::named(&[it.name()]));
    let mut groups = vec![first.clone(), default_dimensions()];
    groups
        .extend(single.into_iter().chain([Dimensions::named(&WHO), Dimensions::named(&["protocol"])]).chain(of_flows));
    let mut seen = Vec::new();
    groups.retain(|group| {
        !seen.contains(group) && {
            seen.push(group.clone());
            true
        }
    });
    groups
}

/// Reads a filter for rows; none for an empty text.
fn parse_filter(text: &str, is_past: bool, check: &impl CheckFilter) -> Result<Option<Filter>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let filter = Filter::parse(text).map_err(|error| error.to_string())?;
    if let Some(problem) = unanswered(&filter, is_past) {
        return Err(problem);
    }
    check.check(&filter).map_err(|error| error.to_string())?;
    Ok(Some(filter))
}

/// Why rows cannot answer a filter, and which command can; none if they can.
fn unanswered(filter: &Filter, is_past: bool) -> Option<String> {
    let quoted = filter.to_string().replace('\'', r"'\''");
    if filter.asks_process() {
        return Some(format!(
            "rows have no processes, single drops do. End with q, and start: droptrace trace '{quoted}'"
        ));
    }
    let lacks = match filter {
        _ if filter.asks_packet() => "packets",
        _ if filter.asks_user() => "users",
        _ if filter.asks_holder() => "namespaces by process or file",
        _ => return None,
    };
    if is_past {
        return Some(format!(
            "rows have no {lacks}, the single drops that were kept do. End with q, and start: droptrace trace '{quoted}' with the \
             same --since"
        ));
    }
    Some(format!(
        "rows have no {lacks}: this filter works in the kernel. End with q, and start: droptrace top '{quoted}'"
    ))
}
