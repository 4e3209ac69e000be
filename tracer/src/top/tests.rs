//! The state of the screen: sums, orders, groups, and what keys do to them.

use super::history::CELLS;
use super::keys::Action;
use super::model::{Model, Page, Request};
use super::samples::{AllowAll, busy, key, model, owned, report, total};
use super::sheet::{Row, Sheet};
use crate::dimension::Dimensions;
use crate::domain::event::{NamedKey, reason_name};

fn act(model: &mut Model, actions: &[Action]) {
    for action in actions {
        let request = model.act(*action, &AllowAll);
        assert!(matches!(request, Request::Draw | Request::Copy(_)), "{action:?}");
    }
}

fn type_in(model: &mut Model, text: &str) {
    act(model, &[Action::Filter, Action::EraseAll]);
    act(model, &text.chars().map(Action::Type).collect::<Vec<_>>());
    act(model, &[Action::Open]);
}

fn reasons(model: &Model) -> Vec<&str> {
    model.sheet().rows.iter().filter_map(|row| reason_name(&row.total.key.reason)).collect()
}

fn packets(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row.total.packets).sum()
}

/// Whether the rows and the sums of what has no row are all drops.
fn adds_up(sheet: &Sheet) -> bool {
    let sums = [sheet.usual, sheet.filtered, sheet.overflow];
    packets(&sheet.rows) + sums.map(|sum| sum.packets).iter().sum::<u64>() == sheet.total.packets
}

fn counted(second: u64) -> u64 {
    busy(second).iter().map(|total| total.packets).sum::<u64>() + 11
}

#[test]
fn storm_that_ended_does_not_lead() {
    let mut model = model(30);
    assert_eq!(model.sheet().total.packets, counted(30));
    assert_eq!(reasons(&model), ["SOCKET_RCVBUFF", "SOCKET_RCVBUFF", "QUEUE_PURGE", "NO_SOCKET", "NETFILTER_DROP"]);
    let last = model.sheet().rows.last().unwrap();
    assert!(!last.is_active() && last.rate == Some(0.0));
    act(&mut model, &[Action::Sort]);
    assert_eq!(reasons(&model)[0], "SOCKET_RCVBUFF");
    assert!(model.sheet().rows.is_sorted_by_key(|row| std::cmp::Reverse(row.total.packets)));
    act(&mut model, &[Action::Sort]);
    assert_eq!(reasons(&model)[0], "NETFILTER_DROP", "by name");
    act(&mut model, &[Action::Sort]);
    assert_eq!(model.look().order, super::sheet::Order::Rate);
}

#[test]
fn keys_do_nothing_on_a_screen_without_rows() {
    let mut model = model(30);
    act(&mut model, &[Action::Filter]);
    model.set_too_small(true);
    assert!(!model.is_typing(), "a q ends the run");
    act(&mut model, &[Action::Type('x'), Action::Sort, Action::Open, Action::Move(1), Action::Capture]);
    assert_eq!((model.page(), model.position()), (&Page::Filter(String::new(), None), (0, 0)));
    assert_eq!(model.look().order, super::sheet::Order::Rate);
    assert_eq!(model.act(Action::Quit, &AllowAll), Request::Quit);
    model.set_too_small(false);
    assert!(model.is_typing());
}

#[test]
fn packets_of_the_row_are_written_by_a_command() {
    let mut model = model(30);
    act(&mut model, &[Action::Capture]);
    let Page::Command(command) = model.page() else { panic!("{:?}", model.page()) };
    assert!(
        command.starts_with("droptrace trace -w socket_rcvbuff.pcapng --count 1000 'reason SOCKET_RCVBUFF"),
        "{command}"
    );
}

#[test]
fn rates_are_of_the_last_interval() {
    let model = model(2);
    let rates: Vec<_> = model.sheet().rows.iter().map(|row| row.rate.unwrap()).collect();
    assert_eq!(rates, [1500.0, 360.0, 40.0, 7.0, 5.0]);
    assert_eq!(model.sheet().total.rate, Some(1912.0), "also of drops without a row");
    let row = &model.sheet().rows[4];
    let mean = f64::from(*row.trend.last().unwrap());
    assert!((mean - 5.0).abs() < 1e-6, "two interfaces in one row: {mean}");
}

#[test]
fn time_of_which_nothing_is_known_is_empty_in_a_trend() {
    let mut model = model(10);
    model.skip(10);
    for second in 11..=15 {
        model.read(&report(second, busy(second), 11));
    }
    let row = model.sheet().rows.iter().find(|row| row.total.packets == 75).unwrap();
    let trend: Vec<_> = row.trend[CELLS - 5..].iter().map(|rate| rate.round()).collect();
    assert_eq!(trend, [5.0, 5.0, 0.0, 0.0, 5.0], "five readings each");
}

#[test]
fn cell_of_a_trend_is_the_mean_of_the_readings_that_are_known() {
    let mut model = model(10);
    model.skip(7);
    for second in 11..=14 {
        model.read(&report(second, busy(second), 11));
    }
    let row = model.sheet().rows.iter().find(|row| row.total.packets == 70).unwrap();
    let trend: Vec<_> = row.trend[CELLS - 5..].iter().map(|rate| rate.round()).collect();
    assert_eq!(trend, [5.0, 5.0, 0.0, 5.0, 5.0], "three readings in the last but one, and one in the last");
}

#[test]
fn every_way_to_group_has_all_drops() {
    let mut model = model(5);
    let mut seen = vec![];
    for _ in 0..20 {
        assert!(adds_up(model.sheet()), "{:?}", model.look().grouper.by());
        assert_eq!(model.sheet().total.packets, counted(5));
        if !seen.contains(model.look().grouper.by()) {
            seen.push(model.look().grouper.by().clone());
        }
        act(&mut model, &[Action::Group]);
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
    let by_interface = seen.iter().find(|by| by.contains("interface") && !by.contains("reason")).unwrap();
    while *model.look().grouper.by() != *by_interface {
        act(&mut model, &[Action::Group]);
    }
    assert_eq!(packets(&model.sheet().rows[1..]), 10, "eth1");
    assert!(model.sheet().rows.iter().all(|row| row.usual.is_none()));
}

#[test]
fn hidden_drops_are_in_the_total() {
    let mut model = model(5);
    act(&mut model, &[Action::Usual]);
    assert!(!reasons(&model).contains(&"QUEUE_PURGE"));
    let usual = model.sheet().usual;
    assert_eq!((usual.packets, usual.rate), (7_500 + 35 + 25, Some(1512.0)), "NETFILTER_DROP, QUEUE_PURGE, NO_SOCKET");
    type_in(&mut model, "not netns web");
    assert_eq!((model.sheet().filtered.packets, model.sheet().usual.packets), (7535, 25));
    assert!(adds_up(model.sheet()) && model.sheet().total.packets == counted(5));
    act(&mut model, &[Action::Usual, Action::Back]);
    assert_eq!((model.sheet().filtered.packets, model.sheet().rows.len()), (0, 5), "Esc takes back the filter");
}

#[test]
fn filter_that_needs_packets_leads_to_the_command_line() {
    let mut model = model(5);
    for text in ["tcp port 443", "len > 100", "unusual and vlan 3", "uid 0", "netns pid:1", "netns /proc/1/ns/net"] {
        type_in(&mut model, text);
        let Page::Filter(typed, Some(problem)) = model.page() else { panic!("{text}: {:?}", model.page()) };
        assert!(typed == text && problem.contains(&format!("droptrace top '{text}'")), "{problem}");
    }
    type_in(&mut model, "process nginx");
    let Page::Filter(_, Some(problem)) = model.page() else { panic!("{:?}", model.page()) };
    assert!(problem.contains("droptrace trace 'process nginx'"), "{problem}");
    assert_eq!(model.filter(), None);
    type_in(&mut model, "reason (");
    assert!(matches!(model.page(), Page::Filter(_, Some(_))));
    type_in(&mut model, "iface eth1");
    assert_eq!((model.page(), reasons(&model)), (&Page::Rows, vec!["NO_SOCKET"]));
    assert_eq!(packets(&model.sheet().rows), 10, "a row has only the drops that match");
    act(&mut model, &[Action::Open]);
    assert_eq!(model.entries().len(), 1);
}

#[test]
fn frozen_screen_keeps_its_counts_and_goes_on_later() {
    let mut model = model(5);
    act(&mut model, &[Action::Freeze]);
    model.read(&report(6, busy(6), 11));
    assert!(model.is_frozen());
    assert_eq!(model.sheet().total.packets, counted(5));
    act(&mut model, &[Action::Group, Action::Sort]);
    assert_eq!(model.sheet().total.packets, counted(5), "groups of the frozen counts");
    act(&mut model, &[Action::Freeze]);
    assert_eq!(model.sheet().total.packets, counted(6), "the counts of the meantime at once");
}

#[test]
fn reset_counts_from_now_on() {
    let mut model = model(5);
    act(&mut model, &[Action::Freeze, Action::Reset]);
    assert!(!model.is_frozen() && model.sheet().rows.is_empty() && model.sheet().total.packets == 0);
    model.read(&report(7, busy(7), 13));
    let expected = counted(7) + 2 - counted(5);
    assert_eq!(model.sheet().total.packets, expected);
    assert_eq!(model.sheet().overflow.packets, 2);
    assert!(adds_up(model.sheet()));
    let rates: Vec<_> = model.sheet().rows.iter().map(|row| row.rate.unwrap()).collect();
    assert_eq!(rates[..2], [1500.0, 1440.0], "rates since the last reading");
    assert_eq!(model.reading().unwrap().since_reset.unwrap().as_secs(), 2);
}

#[test]
fn cursor_follows_its_row_and_stays_at_the_top() {
    let mut model = model(2);
    model.fit(3, 0);
    act(&mut model, &[Action::Move(1)]);
    assert_eq!(reason_name(&model.row().unwrap().total.key.reason), Some("SOCKET_RCVBUFF"));
    let chosen = model.row().unwrap().total.key.clone();
    for second in 3..20 {
        model.read(&report(second, busy(second), 11));
        assert_eq!(model.row().unwrap().total.key, chosen);
    }
    assert_eq!(model.position().0, 0, "the row leads by now");
    act(&mut model, &[Action::Last]);
    model.fit(3, 0);
    assert_eq!(model.position(), (4, 2));
    act(&mut model, &[Action::Page(-1)]);
    model.fit(3, 0);
    assert_eq!(model.position(), (1, 1));
    act(&mut model, &[Action::First]);
    model.read(&report(30, busy(30), 11));
    assert_eq!(model.position().0, 0);
    act(&mut model, &[Action::Move(-5), Action::Move(99)]);
    assert_eq!(model.position().0, 4);
}

#[test]
fn opened_row_has_its_keys_and_its_command() {
    let mut model = model(5);
    act(&mut model, &[Action::Last, Action::Open]);
    assert_eq!(model.entries().len(), 2, "two interfaces");
    let command = model.command().unwrap();
    assert_eq!(command, "droptrace trace 'reason NO_SOCKET and site tcp_v4_rcv and netns 4026'");
    act(&mut model, &[Action::Help, Action::Back]);
    assert_eq!(model.act(Action::Command, &AllowAll), Request::Copy(command.clone()));
    assert_eq!(model.page(), &Page::Command(command));
    act(&mut model, &[Action::Move(-1)]);
    assert_eq!(model.page(), &Page::Rows);
}

#[test]
fn owners_are_one_row_by_their_most_exact_name() {
    let mut model = model(0);
    let other = |mut key: NamedKey| {
        key.cgroup_id += 100;
        key
    };
    let drops = vec![
        total(owned("NO_SOCKET", "shop/web", "nginx"), 3),
        total(other(owned("NO_SOCKET", "shop/web", "nginx")), 4),
        total(owned("NO_SOCKET", "shop/db", "nginx"), 5),
        total(key("NO_SOCKET", "udp_queue_rcv_one_skb", Some("shop")), 6),
    ];
    model.read(&report(1, drops, 0));
    let counts: Vec<_> = model.sheet().rows.iter().map(|row| (row.total.packets, row.has_sockets)).collect();
    assert_eq!(counts, [(7, true), (6, false), (5, true)]);
}

#[test]
fn first_group_is_the_one_that_was_asked_for() {
    let by: Dimensions = "netns,reason".parse().unwrap();
    let knowledge = super::knowledge::Knowledge::built_in(0).unwrap();
    let mut model = Model::new(knowledge, crate::advice::Selection::default(), Some(&by));
    assert_eq!(model.grouped(), Some(&by));
    act(&mut model, &[Action::Group]);
    assert_eq!(model.grouped(), None, "then the default");
}

#[test]
fn keys_without_rows_do_nothing() {
    let mut model = model(0);
    act(
        &mut model,
        &[
            Action::Open,
            Action::Command,
            Action::Move(1),
            Action::Last,
            Action::Back,
            Action::Usual,
            Action::Reset,
            Action::Freeze,
        ],
    );
    assert_eq!(model.page(), &Page::Rows);
    assert_eq!(model.act(Action::Quit, &AllowAll), Request::Quit);
    assert_eq!(model.act(Action::Suspend, &AllowAll), Request::Suspend);
}
