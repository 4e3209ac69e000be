//! What a program said at its end.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use droptrace_base::outside::printable;

/// The most lines that are kept of what a program said.
const LINES: usize = 3;
/// The most characters of a line.
const WIDTH: usize = 300;

/// The last lines of a program's messages, with its exit status, in one line of visible characters.
pub(super) fn said(text: &str, status: Option<ExitStatus>) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    let text = last.iter().map(|line| shortened(line)).collect::<Vec<_>>().join("; ");
    match status.map(of_status) {
        None => text,
        Some(status) if text.is_empty() => status,
        Some(status) => format!("{text} ({status})"),
    }
}

/// The beginning of a text, in visible characters.
pub(super) fn shortened(text: &str) -> String {
    let mut start: String = text.chars().take(WIDTH).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    printable(&start).into_owned()
}

fn of_status(status: ExitStatus) -> String {
    let signal = || format!("signal {}", status.signal().unwrap_or_default());
    status.code().map_or_else(signal, |code| format!("exit status {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_count() {
        let status = |raw| Some(ExitStatus::from_raw(raw));
        assert_eq!(said("a\n\nb\nc\r\n  d\x1b[2J\n", status(255 << 8)), "b; c; d\u{fffd}[2J (exit status 255)");
        assert_eq!((said("", status(9)), said("\n", status(0))), ("signal 9".into(), "exit status 0".into()));
        assert_eq!(said("x", None), "x");
        assert_eq!(said(&"é".repeat(1000), None), "é".repeat(WIDTH) + "…");
    }
}
