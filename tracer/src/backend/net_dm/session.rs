//! Manners towards the host's one drop monitor: what others run is left alone, what was changed is put back, and what
//! a killed run left behind is repaired.

use std::io;

use super::control::Control;
use super::error::Error;
use super::message::Stats;
use super::request::{Config, Drops, Request};
use super::state::{Note, NoteFile, Process};
use crate::netlink::Socket;

/// Who runs the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process started it, and stops it.
    Ours,
    /// Somebody else: this process only listens.
    Others,
}

/// What came to light when the session looked after the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It had been stopped, and runs again: ours from now on, unless others were quicker.
    Restarted,
    /// Others have stopped ours, and run theirs.
    TakenOver,
    /// Others have started theirs anew with other settings.
    Reconfigured,
}

/// A monitor that runs, by whom and how.
pub(super) struct Session {
    control: Control,
    notes: NoteFile,
    wanted: Config,
    wanted_drops: Drops,
    owner: Owner,
    running: Config,
    started: Drops,
    /// How it was set before we set it.
    found: Option<Config>,
}

impl Session {
    /// Repairs what a killed run left, then starts the monitor, or finds that somebody else runs it.
    pub(super) async fn begin(
        mut control: Control,
        wanted: Config,
        wanted_drops: Drops,
        notes: NoteFile,
    ) -> Result<Self, Error> {
        repair(&mut control, &notes).await?;
        let running = control.config().await?;
        let mut session = Self {
            control,
            notes,
            wanted,
            wanted_drops,
            owner: Owner::Others,
            running,
            started: Drops::default(),
            found: None,
        };
        session.establish().await?;
        Ok(session)
    }

    pub(super) const fn owner(&self) -> Owner {
        self.owner
    }

    /// How the monitor is set.
    pub(super) const fn running(&self) -> Config {
        self.running
    }

    /// What this process started; nothing where others did.
    pub(super) const fn started(&self) -> Drops {
        self.started
    }

    pub(super) async fn stats(&mut self) -> Result<Stats, Error> {
        self.control.stats().await
    }

    /// Starts the monitor unless it runs.
    async fn establish(&mut self) -> Result<(), Error> {
        (self.owner, self.started) = (Owner::Others, Drops::default());
        if !self.control.is_running().await? {
            self.configure().await?;
            self.start().await?;
        }
        self.running = self.control.config().await?;
        Ok(())
    }

    async fn configure(&mut self) -> Result<(), Error> {
        let current = self.control.config().await?;
        // What stands now may be our own from before others stopped us.
        let found = self.found.filter(|_| current == self.wanted).unwrap_or(current);
        self.found = Some(found);
        self.take_note(found);
        match self.control.ask(Request::Config(self.wanted)).await {
            // Others were quicker.
            Err(error) if error.errno() == Some(libc::EBUSY) => Ok(()),
            result => result.map_err(Error::of_control),
        }
    }

    /// Before anything changes: what is killed from now on can be repaired.
    fn take_note(&self, found: Config) {
        let note = |owner| Note { owner, found, configured: self.wanted, started: self.wanted_drops };
        if let Err(error) = Process::current().and_then(|owner| self.notes.write(&note(owner))) {
            let path = self.notes.path().display();
            tracing::warn!("cannot write {path}: {error}; should droptrace be killed, the drop monitor stays on");
        }
    }

    async fn start(&mut self) -> Result<(), Error> {
        let mut drops = self.wanted_drops;
        let mut result = self.control.ask(Request::Start(drops)).await;
        if drops.hardware && drops.software && refused(&result, libc::EOPNOTSUPP) {
            tracing::debug!("no hardware drops: this kernel has no devlink");
            drops.hardware = false;
            result = self.control.ask(Request::Start(drops)).await;
        }
        if refused(&result, libc::EAGAIN) {
            // Others were quicker.
            return Ok(());
        }
        if let Err(error) = result {
            self.restore().await;
            return Err(Error::of_control(error));
        }
        (self.owner, self.started) = (Owner::Ours, drops);
        Ok(())
    }

    /// Looks after the monitor: whether it still runs, and is still the same. To be called each second. `listener`
    /// joins the group again where the family's module was loaded again.
    pub(super) async fn check(&mut self, listener: &Socket) -> Result<Option<Change>, Error> {
        let is_running = match self.control.is_running().await {
            Err(Error::Netlink(error)) if error.errno() == Some(libc::ENOENT) => {
                // What we started is gone with the module.
                (self.owner, self.found) = (Owner::Others, None);
                self.forget_note();
                self.control.resolve_again().await?;
                self.control.join(listener).map_err(|error| Error::Reloaded { source: Box::new(error) })?;
                false
            }
            result => result?,
        };
        if !is_running {
            self.establish().await?;
            return Ok(Some(Change::Restarted));
        }
        let config = self.control.config().await?;
        if config == self.running {
            return Ok(self.start_what_was_stopped().await?.then_some(Change::Restarted));
        }
        // Settings cannot change while a monitor runs: this is another.
        self.running = config;
        Ok(Some(match std::mem::replace(&mut self.owner, Owner::Others) {
            Owner::Ours => Change::TakenOver,
            Owner::Others => Change::Reconfigured,
        }))
    }

    /// Where software and hardware drops are told, others may have stopped one of both, so that the monitor still
    /// runs: START changes nothing of what does. Whether something had been stopped.
    async fn start_what_was_stopped(&mut self) -> Result<bool, Error> {
        if self.owner != Owner::Ours || !self.started.hardware {
            return Ok(false);
        }
        let mut was_stopped = false;
        for part in [Drops { software: true, hardware: false }, Drops { software: false, hardware: true }] {
            match self.control.ask(Request::Start(part)).await {
                Ok(()) => was_stopped = true,
                Err(error) if error.errno() == Some(libc::EAGAIN) => {}
                Err(error) => return Err(Error::of_control(error)),
            }
        }
        Ok(was_stopped)
    }

    /// Stops what was started, and puts the settings back.
    pub(super) async fn end(&mut self) -> Result<(), Error> {
        if self.owner == Owner::Ours {
            self.control.ask(Request::Stop(self.started)).await.map_err(Error::of_control)?;
            self.owner = Owner::Others;
        }
        self.restore().await;
        Ok(())
    }

    /// Puts the settings back, unless others have made theirs or run the monitor by now.
    async fn restore(&mut self) {
        if let Some(found) = self.found.take() {
            let is_ours = self.control.config().await.is_ok_and(|config| config == self.wanted);
            if is_ours && let Err(error) = self.control.ask(Request::Config(found)).await {
                tracing::debug!("cannot put the drop monitor's settings back: {error}");
            }
            self.forget_note();
        }
    }

    fn forget_note(&self) {
        if let Err(error) = self.notes.remove() {
            tracing::warn!("cannot remove {}: {error}", self.notes.path().display());
        }
    }
}

impl Drop for Session {
    /// As [`Session::end`], where a run ends by an error: without waiting for answers.
    fn drop(&mut self) {
        let Some(found) = self.found.take() else { return };
        if self.owner == Owner::Ours {
            _ = self.control.tell(Request::Stop(self.started));
            _ = self.control.tell(Request::Config(found));
        }
        self.forget_note();
    }
}

fn refused(result: &Result<(), crate::netlink::Error>, errno: i32) -> bool {
    result.as_ref().is_err_and(|error| error.errno() == Some(errno))
}

/// Puts right what a killed run left, if there is a note of one; whether there is none any more.
pub(super) async fn repair_left(notes: &NoteFile) -> Result<bool, Error> {
    // Without a note the family, and with it the kernel's module, is not even asked for.
    if notes.read().is_ok_and(|note| note.is_none()) {
        return Ok(true);
    }
    repair(&mut Control::open().await?, notes).await?;
    Ok(notes.read().is_ok_and(|note| note.is_none()))
}

/// Puts right what a run of droptrace left that was killed in this boot: only if the settings are still those that it
/// made, for else others run the monitor by now.
async fn repair(control: &mut Control, notes: &NoteFile) -> Result<(), Error> {
    let note = match notes.read() {
        Ok(note) => note,
        Err(error) => {
            tracing::warn!("{} is left alone: {error}", notes.path().display());
            None
        }
    };
    let Some(note) = note else { return Ok(()) };
    let is_running = control.is_running().await?;
    let config = control.config().await?;
    match verdict(&note, &Process::current(), config, is_running) {
        Verdict::InUse => return Ok(()),
        Verdict::Stale => {}
        Verdict::Left => {
            if is_running {
                control.ask(Request::Stop(note.started)).await.map_err(Error::of_control)?;
            }
            control.ask(Request::Config(note.found)).await.map_err(Error::of_control)?;
            tracing::warn!("a run of droptrace that was killed had left the kernel's drop monitor changed: put right");
        }
    }
    if let Err(error) = notes.remove() {
        tracing::warn!("cannot remove {}: {error}", notes.path().display());
    }
    Ok(())
}

/// Whether a run of droptrace that was killed left the monitor as it is.
pub(super) fn is_left(notes: &NoteFile, config: Config, is_running: bool) -> bool {
    let note = notes.read().ok().flatten();
    note.is_some_and(|note| verdict(&note, &Process::current(), config, is_running) == Verdict::Left)
}

/// What a note means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Its writer still runs.
    InUse,
    /// It is of another boot, or others have changed the monitor since.
    Stale,
    /// Its writer is gone and left things so.
    Left,
}

fn verdict(note: &Note, current: &io::Result<Process>, config: Config, is_running: bool) -> Verdict {
    let Ok(current) = current else { return Verdict::InUse };
    if !note.owner.is_of_the_boot_of(current) {
        return Verdict::Stale;
    }
    if note.owner.is_alive() {
        return Verdict::InUse;
    }
    // Stopped, with the settings as they were before, nothing is left to be done.
    let is_left = config == note.configured && (is_running || note.configured != note.found);
    if is_left { Verdict::Left } else { Verdict::Stale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::net_dm::AlertMode;

    const FOUND: Config = Config { mode: AlertMode::Summary, trunc_len: 0, queue_len: 1000 };
    const OURS: Config = Config { mode: AlertMode::Packet, trunc_len: 128, queue_len: 4999 };

    fn note(owner: Process) -> Note {
        Note { owner, found: FOUND, configured: OURS, started: Drops { software: true, hardware: true } }
    }

    fn dead() -> Process {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let text = serde_json::json!({
            "pid": child.id(), "start_time": 1, "boot_id": std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
        });
        child.wait().unwrap();
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn only_what_a_dead_run_of_this_boot_left_as_it_was_is_put_right() {
        let current = Process::current();
        let of = |owner, config, is_running| verdict(&note(owner), &current, config, is_running);
        assert_eq!(of(dead(), OURS, true), Verdict::Left);
        assert_eq!(of(dead(), OURS, false), Verdict::Left, "stopped by others, yet our settings stay");
        assert_eq!(of(dead(), FOUND, false), Verdict::Stale);
        assert_eq!(of(dead(), FOUND, true), Verdict::Stale, "others run it by now");
        assert_eq!(of(Process::current().unwrap(), OURS, true), Verdict::InUse);
        let mut of_another_boot = serde_json::to_value(dead()).unwrap();
        of_another_boot["boot_id"] = "another".into();
        assert_eq!(of(serde_json::from_value(of_another_boot).unwrap(), OURS, true), Verdict::Stale);
    }
}
