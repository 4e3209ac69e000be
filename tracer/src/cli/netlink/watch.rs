//! `droptrace netlink watch NAME`: shows each message of a family's multicast groups.

use std::io::{self, Write as _};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use super::watched::Seen;
use crate::cli::args::{Format, WatchArgs};
use crate::netlink::absence::{self, Surroundings};
use crate::netlink::wire;
use crate::netlink::{Connection, Decoder, Details, Error, Family, Group, Policies, Received, Receiver, Socket};
use crate::outside::printable;
use crate::outside::say;
use crate::render::output::Output;
use crate::run::Stop;
use crate::run::host;

/// The size in bytes of a slot. The longest attribute has 64 KiB, and messages have few attributes of that size.
const SLOT: usize = 128 << 10;
const SLOTS: usize = 16;

/// Shows messages until the command ends.
pub(super) async fn run(args: &WatchArgs) -> Result<()> {
    let output = Output::open(args.results.file.output.as_deref())?;
    let mut connection = Connection::open()?;
    let details = match Details::resolve(&mut connection, &args.name).await {
        Err(Error::NoFamily { name }) => {
            let surroundings = Surroundings::look(&name, &host().kernel);
            bail!(absence::explain(&name, &surroundings))
        }
        details => details?,
    };
    let policies = Policies::of(&mut connection, &details).await?;
    let family = &details.family;
    let groups = wanted(family, &args.group)?;
    let mut stop = Stop::new(args.duration)?.while_read(&output);
    let socket = Socket::open()?;
    let bytes = usize::try_from(args.buffer)?;
    socket.set_receive_buffer(bytes).with_context(|| format!("cannot have a buffer of {bytes} bytes"))?;
    groups.iter().try_for_each(|group| socket.join(group.id))?;
    stop.start_clock();
    let names: Vec<_> = groups.iter().map(|group| printable(&group.name)).collect();
    say("droptrace", format_args!("listening to {} of {}; Ctrl-C ends", names.join(", "), printable(&family.name)));
    let left = args.count.map_or(u64::MAX, Into::into);
    let decoder = Decoder { family: &family.name, policies: policies.as_ref(), header_size: details.header_size };
    Watch { output, format: args.results.format, socket, decoder, id: family.id, left }.run(&mut stop).await
}

/// The groups with these names; all groups if there are no names.
fn wanted<'f>(family: &'f Family, wanted: &[String]) -> Result<Vec<&'f Group>> {
    if let Some(missing) = wanted.iter().find(|name| !family.groups.iter().any(|group| group.name == **name)) {
        let there: Vec<_> = family.groups.iter().map(|group| group.name.as_str()).collect();
        bail!("the family {} has no multicast group {missing}; it has: {}", family.name, there.join(", "));
    }
    if family.groups.is_empty() {
        bail!("the family {} has no multicast groups: it sends nothing of its own accord", family.name);
    }
    let is_wanted = |group: &&Group| wanted.is_empty() || wanted.contains(&group.name);
    Ok(family.groups.iter().filter(is_wanted).collect())
}

struct Watch<'f> {
    output: Output,
    format: Format,
    socket: Socket,
    decoder: Decoder<'f>,
    id: u16,
    left: u64,
}

impl Watch<'_> {
    async fn run(mut self, stop: &mut Stop) -> Result<()> {
        let mut receiver = Receiver::new(SLOTS, SLOT);
        while self.left > 0 {
            match receiver.receive(&self.socket)? {
                Received::Datagrams(_) => self.show(&receiver)?,
                Received::Overrun => self.say(Seen::Overrun(self.socket.dropped().ok()))?,
                Received::Nothing => {
                    self.output.flush()?;
                    tokio::select! {
                        biased;
                        () = stop.wait() => break,
                        readable = self.socket.readable() => readable?,
                    }
                    continue;
                }
            }
            // Datagrams may arrive without a pause, and the command must still end in time.
            tokio::select! {
                biased;
                () = stop.wait() => break,
                () = tokio::task::yield_now() => {}
            }
        }
        Ok(self.output.flush()?)
    }

    fn show(&mut self, receiver: &Receiver) -> io::Result<()> {
        for datagram in receiver.datagrams() {
            for message in wire::messages(datagram.bytes) {
                if self.left == 0 {
                    return Ok(());
                }
                // The group may have messages of another family, which shares its number.
                if message.as_ref().is_ok_and(|message| message.header.message_type != self.id) {
                    continue;
                }
                self.left -= 1;
                let generic = message.and_then(|message| message.generic());
                self.say(match generic {
                    Ok((command, body)) => Seen::Message { command, body },
                    Err(error) => Seen::Malformed(error),
                })?;
            }
            if datagram.is_truncated {
                self.say(Seen::Cut)?;
            }
        }
        Ok(())
    }

    fn say(&mut self, seen: Seen<'_>) -> io::Result<()> {
        let now = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
        seen.write(&mut self.output, self.format, &now, &self.decoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::netlink::family::tests::net_dm;

    #[test]
    fn groups_are_found_by_name() {
        let family = net_dm().family;
        assert_eq!(wanted(&family, &[]).unwrap(), [&family.groups[0]]);
        assert_eq!(wanted(&family, &["events".into()]).unwrap(), [&family.groups[0]]);
        let error = wanted(&family, &["packets".into()]).unwrap_err().to_string();
        assert_eq!(error, "the family NET_DM has no multicast group packets; it has: events");
        assert!(wanted(&Family::default(), &[]).is_err());
    }
}
