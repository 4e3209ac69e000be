//! Shares the host's one drop monitor with other processes: it leaves their monitor alone, restores changed settings,
//! and repairs the state that a killed run left behind.

use std::io;

use super::control::Control;
use super::error::Error;
use super::message::Stats;
use super::request::{Config, Drops, Request};
use super::state::{Note, NoteFile, Process};
use crate::netlink::Socket;

/// The process that runs the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process started it, and stops it.
    Ours,
    /// Another process runs the monitor, and this process only receives alerts.
    Others,
}

/// A change that a check of the monitor found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another process had stopped the monitor, and it runs again. This process owns it from now on, unless another one
    /// was quicker.
    Restarted,
    /// Another process has stopped this process's monitor, and runs its own.
    TakenOver,
    /// Another process has started its monitor again with other settings.
    Reconfigured,
}

/// A running monitor, its owner and its settings.
pub(super) struct Session {
    control: Control,
    notes: NoteFile,
    wanted: Config,
    wanted_drops: Drops,
    owner: Owner,
    running: Config,
    started: Drops,
    /// The settings before this process changed them.
    found: Option<Config>,
}

impl Session {
    /// Repairs the state that a killed run left, then starts the monitor, or finds that another process runs it.
    pub(super) async fn begin(
        mut control: Control,
        wanted: Config,
        wanted_drops: Drops,
        notes: NoteFile,
    ) -> Result<Self, Error> {
        if repair(&mut control, &notes).await? == Repair::Restored {
            tracing::warn!("a run of droptrace that was killed had left the kernel's drop monitor changed: restored");
        }
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

    /// The monitor's settings.
    pub(super) const fn running(&self) -> Config {
        self.running
    }

    /// The kinds of drops that this process started; both are false where another process runs the monitor.
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
        // The present settings may be this process's own, from before another process stopped its monitor.
        let found = self.found.filter(|_| current == self.wanted).unwrap_or(current);
        self.found = Some(found);
        self.take_note(found);
        match self.control.ask(Request::Config(self.wanted)).await {
            // Another process was quicker.
            Err(error) if error.errno() == Some(libc::EBUSY) => Ok(()),
            result => result.map_err(Error::of_control),
        }
    }

    /// Writes a note before any change, so that the next run can repair the state if this process is killed.
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
            // Another process was quicker.
            return Ok(());
        }
        if let Err(error) = result {
            self.restore().await;
            return Err(Error::of_control(error));
        }
        (self.owner, self.started) = (Owner::Ours, drops);
        Ok(())
    }

    /// Checks whether the monitor still runs, and is still the same. The caller calls this function each second.
    /// `alerts` joins the group again where the family's module was loaded again.
    pub(super) async fn check(&mut self, alerts: &Socket) -> Result<Option<Change>, Error> {
        let is_running = match self.control.is_running().await {
            Err(Error::Netlink(error)) if error.errno() == Some(libc::ENOENT) => {
                // The monitor that this process started is gone with the module.
                (self.owner, self.found) = (Owner::Others, None);
                self.forget_note();
                self.control.resolve_again().await?;
                self.control.join(alerts).map_err(|error| Error::Reloaded { source: Box::new(error) })?;
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
        // Settings cannot change while a monitor runs, so this is another monitor.
        self.running = config;
        Ok(Some(match std::mem::replace(&mut self.owner, Owner::Others) {
            Owner::Ours => Change::TakenOver,
            Owner::Others => Change::Reconfigured,
        }))
    }

    /// Where software and hardware drops are reported, another process may have stopped one kind while the monitor
    /// still runs. START does not change the kind that runs. Returns whether a kind had been stopped.
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

    /// Stops the monitor if this process started it, and restores the settings.
    pub(super) async fn end(&mut self) -> Result<(), Error> {
        if self.owner == Owner::Ours {
            self.control.ask(Request::Stop(self.started)).await.map_err(Error::of_control)?;
            self.owner = Owner::Others;
        }
        self.restore().await;
        Ok(())
    }

    /// Restores the settings, unless another process has changed them or runs the monitor by now.
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
    /// Does the same as [`Session::end`] where a run ends with an error, without waiting for answers.
    fn drop(&mut self) {
        let Some(found) = self.found.take() else { return };
        if self.owner == Owner::Ours {
            _ = self.control.send(Request::Stop(self.started));
            _ = self.control.send(Request::Config(found));
        }
        self.forget_note();
    }
}

fn refused(result: &Result<(), crate::netlink::Error>, errno: i32) -> bool {
    result.as_ref().is_err_and(|error| error.errno() == Some(errno))
}

/// The result of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// No run of droptrace left the monitor changed.
    Nothing,
    /// The run that left the monitor changed is of an earlier boot, or another process has changed the monitor since.
    Stale,
    /// The monitor is stopped, and has its settings from before the run that was killed.
    Restored,
    /// The run that changed the monitor goes on.
    InUse,
    /// The note of the change cannot be read, or others may have written it.
    Untrusted,
}

/// Restores the state that a killed run left, if there is a note of one.
pub(super) async fn repair_left(notes: &NoteFile) -> Result<Repair, Error> {
    // Without a note, no request loads the family's module.
    if notes.read().is_ok_and(|note| note.is_none()) {
        return Ok(Repair::Nothing);
    }
    repair(&mut Control::open().await?, notes).await
}

/// Restores the state that a run of droptrace left that was killed in this boot, only if the settings are still those
/// that it made; otherwise another process runs the monitor by now.
async fn repair(control: &mut Control, notes: &NoteFile) -> Result<Repair, Error> {
    let note = match notes.read() {
        Ok(Some(note)) => note,
        Ok(None) => return Ok(Repair::Nothing),
        Err(error) => {
            tracing::warn!("{} is left alone: {error}", notes.path().display());
            return Ok(Repair::Untrusted);
        }
    };
    let is_running = control.is_running().await?;
    let config = control.config().await?;
    let repaired = match verdict(&note, &Process::current(), config, is_running) {
        Verdict::InUse => return Ok(Repair::InUse),
        Verdict::Stale => Repair::Stale,
        Verdict::Left => {
            if is_running {
                control.ask(Request::Stop(note.started)).await.map_err(Error::of_control)?;
            }
            control.ask(Request::Config(note.found)).await.map_err(Error::of_control)?;
            Repair::Restored
        }
    };
    if let Err(error) = notes.remove() {
        tracing::warn!("cannot remove {}: {error}", notes.path().display());
    }
    Ok(repaired)
}

/// Whether a killed run of droptrace left the monitor in this state.
pub(super) fn is_left(notes: &NoteFile, config: Config, is_running: bool) -> bool {
    let note = notes.read().ok().flatten();
    note.is_some_and(|note| verdict(&note, &Process::current(), config, is_running) == Verdict::Left)
}

/// The meaning of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Its writer still runs.
    InUse,
    /// The note is of another boot, or another process has changed the monitor since.
    Stale,
    /// Its writer is gone, and the monitor is in the state of the note.
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
    // If the monitor is stopped and its settings are as they were before, nothing is left to restore.
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
            "pid": child.id(), "start_time": 1, "boot_id": crate::kernel::clock::boot_id().unwrap(),
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
