//! The settings of the terminal before droptrace took it over, and how they are restored.

use std::io;
use std::os::fd::OwnedFd;
use std::panic;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Another screen without a cursor, and text that does not wrap (`xterm` control sequences).
const TAKE: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
/// The screen as it was.
const GIVE_BACK: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal as it was.
struct Before {
    input: OwnedFd,
    output: OwnedFd,
    settings: Termios,
}

/// Present while the terminal is taken over; here, because a panic must find it.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// Takes over the terminal: keys come one by one and are not shown, and Ctrl-C and Ctrl-Z are keys.
pub(super) fn take(input: OwnedFd, output: OwnedFd) -> io::Result<()> {
    let settings = tcgetattr(&input)?;
    *lock() = Some(Before { input, output, settings });
    retake().inspect_err(|_| give_back())
}

/// Applies the settings again.
pub(super) fn retake() -> io::Result<()> {
    let before = lock();
    let Some(Before { input, output, settings }) = &*before else { return Ok(()) };
    let mut raw = settings.clone();
    raw.make_raw();
    // A read without a key returns at once.
    raw.special_codes[SpecialCodeIndex::VMIN] = 0;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(input, OptionalActions::Now, &raw)?;
    write_all(output, TAKE)
}

/// Restores the terminal, and keeps its settings for [`retake`].
pub(super) fn pause() -> io::Result<()> {
    lock().as_ref().map_or(Ok(()), restore)
}

/// Restores the terminal as it was. Does nothing if it was not taken over; a terminal that is gone needs nothing.
pub(crate) fn give_back() {
    if let Some(before) = lock().take() {
        _ = restore(&before);
    }
}

fn restore(Before { input, output, settings }: &Before) -> io::Result<()> {
    let written = write_all(output, GIVE_BACK);
    tcsetattr(input, OptionalActions::Now, settings)?;
    written
}

/// Lets a panic restore the terminal before its message is written.
pub(crate) fn give_back_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        give_back();
        report(panic);
    }));
}

fn lock() -> std::sync::MutexGuard<'static, Option<Before>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all(output: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(output, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::thread;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    /// A terminal of its own: the side that shows it, and the side of the program.
    fn terminal() -> (File, File) {
        let shown = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&shown).unwrap();
        unlockpt(&shown).unwrap();
        let name = ptsname(&shown, Vec::new()).unwrap().into_string().unwrap();
        (shown.into(), File::options().read(true).write(true).open(name).unwrap())
    }

    #[test]
    fn panic_restores_the_terminal() {
        let (mut shown, program) = terminal();
        let before = tcgetattr(&program).unwrap();
        let end = || OwnedFd::from(program.try_clone().unwrap());
        give_back_on_panic();
        take(end(), end()).unwrap();
        let is_cooked = || tcgetattr(&program).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO);
        assert!(!is_cooked());
        thread::spawn(|| panic!("planted by a test")).join().unwrap_err();
        assert!(is_cooked());
        assert_eq!(tcgetattr(&program).unwrap().local_modes, before.local_modes);
        assert_eq!(tcgetattr(&program).unwrap().input_modes, before.input_modes);
        let (mut written, mut bytes) = (Vec::new(), [0; 256]);
        while !written.ends_with(GIVE_BACK) {
            let count = shown.read(&mut bytes).unwrap();
            written.extend_from_slice(&bytes[..count]);
        }
        assert!(written.starts_with(TAKE));
        assert!(lock().is_none(), "nothing is left to restore");
    }
}
