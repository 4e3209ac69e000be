//! `picture FILE`: runs `droptrace top` over drops of namespaces of its own, and writes what its terminal shows as SVG.
//!
//! `cargo build --release && cargo run --package tests --bin picture -- docs/top.svg`, as root.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::netns::Netns;
use tests::pause;
use tests::pty::Terminal;
use tests::wire::udp;
use vt100::{Cell, Color, Screen};

const COLUMNS: u16 = 112;
const ROWS: u16 = 14;
/// The time over which drops are made, so that trends have a shape.
const SPAN: Duration = Duration::from_secs(118);
/// The seconds in which loads grow and fall once.
const PERIOD: u64 = 60;
const STEP: Duration = Duration::from_millis(100);
const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Ports with a socket that nobody reads, without a socket, and with a rule that refuses all.
const SLOW: u16 = 8125;
const CLOSED: u16 = 9;
const REFUSED: u16 = 6379;

/// Width and height of a character, and the space around the screen, in pixels.
const CELL: (f32, f32) = (8.4, 19.0);
const MARGIN: f32 = 14.0;
const INK: &str = "#d5dbe3";
const PAPER: &str = "#0d1117";
/// The sixteen colours of a terminal.
const PALETTE: [&str; 16] = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681", "#ffa198",
    "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#f0f6fc",
];

fn main() -> Result<()> {
    let file = env::args().nth(1).context("usage: picture FILE")?;
    let (web, cache) = (Netns::named("web")?, Netns::named("cache")?);
    let terminal = Terminal::start(&["top", "--interval", "1s"], (COLUMNS, ROWS), "xterm-256color")?;
    terminal.await_screen("the screen", |lines| lines.iter().any(|line| line.contains("drops ")))?;
    make_drops(&web, &cache)?;
    let picture = svg(terminal.display()?.screen());
    terminal.press("q")?;
    let (finished, ..) = terminal.end()?;
    ensure!(finished.status.success(), "{finished:?}");
    fs::write(&file, picture).with_context(|| format!("writing {file}"))
}

/// A metrics daemon that is too slow, a rule that refuses connections to a cache, and late packets for a closed port.
fn make_drops(web: &Netns, cache: &Netns) -> Result<()> {
    for netns in [web, cache] {
        netns.command("ip link set lo up")?;
    }
    cache.commands(
        "nft add table ip filter
         nft add chain ip filter input { type filter hook input priority 0; }
         nft add rule ip filter input tcp dport 6379 drop",
    )?;
    let slow = udp(web, (ADDRESS, SLOW).into())?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&slow, 2048)?;
    let sender = udp(web, (ADDRESS, 0).into())?;
    let late = udp(cache, (ADDRESS, 0).into())?;
    let started = Instant::now();
    while started.elapsed() < SPAN {
        send(&sender, SLOW, 40 + wave(started.elapsed(), 30));
        send(&late, CLOSED, 1 + wave(started.elapsed(), 2));
        web.run(|| {
            // Refused: there is no listener.
            _ = TcpStream::connect((ADDRESS, CLOSED));
            Ok(())
        })?;
        cache.run(|| {
            // Nobody answers: the rule drops the request.
            _ = TcpStream::connect_timeout(&(ADDRESS, REFUSED).into(), Duration::from_millis(1));
            Ok(())
        })?;
        pause(STEP);
    }
    Ok(())
}

/// A number up to `height` that grows and falls.
fn wave(at: Duration, height: u64) -> u64 {
    let phase = at.as_secs() % PERIOD;
    height * phase.min(PERIOD - phase) * 2 / PERIOD
}

fn send(socket: &UdpSocket, port: u16, datagrams: u64) {
    for _ in 0..datagrams {
        // The kernel reports a refusal by the next call.
        _ = socket.send_to(b"droptrace", (ADDRESS, port));
    }
}

/// The screen as a picture. Neighbours of one style are one text.
fn svg(screen: &Screen) -> String {
    let (width, height) = (f32::from(COLUMNS) * CELL.0 + 2.0 * MARGIN, f32::from(ROWS) * CELL.1 + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"droptrace top\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">\n"
    );
    for row in 0..ROWS {
        let cells: Vec<_> = (0..COLUMNS).filter_map(|column| Some((column, screen.cell(row, column)?))).collect();
        for run in cells.chunk_by(|(_, one), (_, other)| style(one) == style(other)) {
            draw(&mut svg, row, run);
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Ink, paper, and whether the text is bold and faint.
fn style(cell: &Cell) -> (String, Option<String>, bool, bool) {
    let ink = color(cell.fgcolor());
    let paper = color(cell.bgcolor());
    if cell.inverse() {
        return (
            paper.unwrap_or_else(|| PAPER.into()),
            Some(ink.unwrap_or_else(|| INK.into())),
            cell.bold(),
            cell.dim(),
        );
    }
    (ink.unwrap_or_else(|| INK.into()), paper, cell.bold(), cell.dim())
}

/// A colour; `None` for the terminal's own.
fn color(color: Color) -> Option<String> {
    match color {
        Color::Default => None,
        Color::Idx(index) => PALETTE.get(usize::from(index)).map(|&known| known.to_owned()),
        Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    }
}

fn draw(svg: &mut String, row: u16, run: &[(u16, &Cell)]) {
    let Some(&(first, cell)) = run.first() else { return };
    let (ink, paper, bold, faint) = style(cell);
    let (x, y) = (MARGIN + f32::from(first) * CELL.0, MARGIN + f32::from(row) * CELL.1);
    let columns = u16::try_from(run.len()).unwrap_or(COLUMNS);
    let (width, height) = (f32::from(columns) * CELL.0, CELL.1);
    if let Some(paper) = paper {
        _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{paper}\"/>"
        );
    }
    let text: String = run.iter().map(|(_, cell)| if cell.has_contents() { cell.contents() } else { " " }).collect();
    if text.trim().is_empty() {
        return;
    }
    // Browsers join blanks.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace(' ', "\u{a0}");
    let bold = if bold { " font-weight=\"bold\"" } else { "" };
    let faint = if faint { " opacity=\"0.6\"" } else { "" };
    let base = y + 14.0;
    _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{base:.1}\" textLength=\"{width:.1}\" fill=\"{ink}\"{bold}{faint}>{text}</text>"
    );
}
