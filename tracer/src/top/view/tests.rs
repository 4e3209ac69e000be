//! Screens, as a terminal of some size shows them.

use std::sync::Arc;
use std::time::Duration;

use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;

use super::{Context, draw};
use crate::domain::event::{NamedKey, Reason, Symbol};
use crate::domain::owner::Owner;
use crate::explained::Recent;
use crate::render::fit::width;
use crate::top::keys::Action;
use crate::top::knowledge::Knowledge;
use crate::top::model::Model;
use crate::top::samples::{AllowAll, key, model, report, total};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

fn screen(model: &mut Model, size: (u16, u16), color: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let recent = Recent::default();
    let context = Context { backend: "tp_btf", interval: Duration::from_secs(1), color, recent: &recent };
    terminal.draw(|frame| draw(model, &context, frame.buffer_mut())).unwrap();
    terminal
}

fn text(model: &mut Model, size: (u16, u16)) -> String {
    let lines = screen(model, size, true).backend().to_string();
    // Behind the cells, the backend notes those that wide characters hide.
    let cells = |line: &str| line.split("\" Hidden by").next().unwrap_or(line).trim_matches('"').trim_end().to_owned();
    lines.lines().map(|line| cells(line) + "\n").collect()
}

fn act(model: &mut Model, actions: &[Action]) {
    for action in actions {
        model.act(*action, &AllowAll);
    }
}

fn type_in(model: &mut Model, text: &str) {
    act(model, &[Action::Filter]);
    act(model, &text.chars().map(Action::Type).collect::<Vec<_>>());
}

#[test]
fn rows_on_a_small_screen() {
    insta::assert_snapshot!(text(&mut model(30), SMALL));
}

#[test]
fn rows_on_a_large_screen() {
    insta::assert_snapshot!(text(&mut model(30), LARGE));
}

#[test]
fn rows_that_are_hidden_and_filtered() {
    let mut model = model(30);
    act(&mut model, &[Action::Usual, Action::Freeze]);
    type_in(&mut model, "not netns shop");
    act(&mut model, &[Action::Open, Action::Move(1), Action::Command]);
    insta::assert_snapshot!(text(&mut model, SMALL));
}

#[test]
fn filter_with_a_fault() {
    let mut model = model(30);
    type_in(&mut model, "tcp port 443");
    act(&mut model, &[Action::Open]);
    insta::assert_snapshot!(text(&mut model, SMALL));
}

#[test]
fn help() {
    let mut model = model(30);
    act(&mut model, &[Action::Help]);
    insta::assert_snapshot!(text(&mut model, SMALL));
}

#[test]
fn help_of_a_time_that_is_over() {
    let past = vec![("--since", "2026-01-01T00:00:00Z".to_owned())];
    let selection = crate::advice::Selection { past, ..Default::default() };
    let mut model = Model::new(Knowledge::built_in(4_026).unwrap(), selection, None);
    act(&mut model, &[Action::Help]);
    insta::assert_snapshot!(text(&mut model, SMALL));
}

#[test]
fn opened_row() {
    let mut model = model(30);
    act(&mut model, &[Action::Move(3), Action::Open]);
    insta::assert_snapshot!(text(&mut model, LARGE));
    let first = text(&mut model, SMALL);
    act(&mut model, &[Action::Move(5)]);
    let moved = text(&mut model, SMALL);
    assert_eq!(first.lines().nth(7), moved.lines().nth(2), "five lines further");
    act(&mut model, &[Action::Last]);
    let end = text(&mut model, SMALL);
    assert!(end.lines().nth(22).is_some_and(|line| !line.is_empty()), "the last line is at the bottom: {end}");
}

#[test]
fn other_groups() {
    let mut model = model(30);
    act(&mut model, &[Action::Group, Action::Group, Action::Group]);
    insta::assert_snapshot!(text(&mut model, SMALL));
}

#[test]
fn nothing_was_dropped() {
    let mut model = model(0);
    insta::assert_snapshot!(text(&mut model, SMALL));
    model.read(&report(1, vec![], 0));
    assert!(text(&mut model, SMALL).contains("No packet was dropped so far."));
}

/// Names that would move the cursor, turn the line round, take two columns, or take none.
fn hostile() -> Vec<NamedKey> {
    let names = [
        "\x1b[2J\x1b[31mred",
        "\u{202e}txt.exe",
        "支付-服务-web-with-a-long-name",
        "e\u{301}\u{200b}x\ty",
        "𓀀\u{fe0f}\u{1f468}\u{200d}\u{1f469}",
    ];
    let keys = names.iter().enumerate().map(|(at, name)| {
        let base = key(if at == 0 { "NO_SOCKET" } else { name }, "udp_rcv", Some(name));
        let symbol = Symbol { name: (*name).into(), offset: at as u64, module: Some((*name).into()) };
        let mut location = (*base.location).clone();
        (location.address, location.symbol) = (at as u64 + 1, Some(symbol));
        let reason = Reason { value: u32::try_from(at).ok(), ..(*base.reason).clone() };
        let owner = Owner { unit: Some((*name).into()), ..Owner::default() };
        NamedKey {
            location: Arc::new(location),
            reason: Arc::new(reason),
            interface: Some((*name).into()),
            owner: Arc::new(owner),
            cgroup_id: 9,
            ..base
        }
    });
    keys.collect()
}

#[test]
fn hostile_names() {
    let mut model = model(0);
    let drops = hostile().into_iter().zip(1..).map(|(key, packets)| total(key, packets)).collect();
    model.read(&report(1, drops, 0));
    type_in(&mut model, "netns \u{202e}\x1b[2J");
    let rows = text(&mut model, SMALL);
    act(&mut model, &[Action::Back]);
    insta::assert_snapshot!(rows);
    for opened in 0..5 {
        act(&mut model, &[Action::First, Action::Move(opened), Action::Open]);
        let page = text(&mut model, LARGE);
        assert!(!page.contains(['\x1b', '\u{202e}', '\u{200b}', '\t']), "{page}");
        act(&mut model, &[Action::Back]);
    }
    assert!(!rows.contains(['\x1b', '\u{202e}', '\u{200b}', '\t']), "{rows}");
    assert!(rows.lines().all(|line| width(line) <= 80), "{rows}");
}

#[test]
fn every_size_can_be_drawn() {
    let mut model = model(30);
    for (width, height) in [(1, 1), (39, 9), (40, 10), (41, 11), (79, 12), (80, 24), (119, 10), (120, 10), (400, 100)] {
        for actions in
            [&[Action::Open][..], &[Action::Last, Action::Back], &[Action::Help], &[Action::Filter], &[Action::Back]]
        {
            act(&mut model, actions);
            let shown = text(&mut model, (width, height));
            assert_eq!(shown.lines().count(), usize::from(height));
        }
    }
}

#[test]
fn ledger_is_whole_and_loss_is_an_alarm() {
    let mut model = model(30);
    assert!(text(&mut model, SMALL).replace('\n', " ").contains("nothing lost of the drops in kfree_skb"));
    let mut lossy = report(31, vec![total(key("NO_SOCKET", "udp_rcv", None), 5)], 0);
    if let crate::domain::ledger::Ledger::Ebpf(ledger) = &mut lossy.sources[0].ledger {
        ledger.nested = 3;
    }
    model.read(&lossy);
    let lossy = screen(&mut model, SMALL, true);
    let shown = lossy.backend().to_string();
    assert!(shown.contains("lost 3"), "{shown}");
    let is_red = |terminal: &Terminal<TestBackend>| {
        terminal.backend().buffer().content().iter().any(|cell| cell.fg == ratatui_core::style::Color::Red)
    };
    assert!(is_red(&lossy) && !is_red(&screen(&mut model, SMALL, false)), "colours only if they are wanted");
}
