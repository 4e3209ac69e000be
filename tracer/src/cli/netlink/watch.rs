//! `droptrace netlink watch NAME`: each message of a family's multicast groups.

use std::io::{self, Write};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};

use crate::cli::args::WatchArgs;
use crate::cli::output::Output;
use crate::cli::stop::Stop;
use crate::netlink::absence::{self, Surroundings};
use crate::netlink::wire::{self, Malformed, Message};
use crate::netlink::{Connection, Decoder, Details, Error, Family, Group, Policies, Received, Receiver, Socket, names};
use crate::session;
use crate::sink::printable;

/// The longest attribute has 64 KiB, and messages have few of that size.
const SLOT: usize = 128 << 10;
const SLOTS: usize = 16;

/// Shows messages until the end.
pub(super) async fn run(args: &WatchArgs) -> Result<()> {
    let output = Output::open(args.output.as_deref())?;
    let mut connection = Connection::open()?;
    let details = match Details::resolve(&mut connection, &args.name).await {
        Err(Error::NoFamily { name }) => {
            let surroundings = Surroundings::look(&name, &session::host().kernel);
            bail!(absence::explain(&name, &surroundings))
        }
        details => details?,
    };
    let policies = Policies::of(&mut connection, &details).await?;
    let family = &details.family;
    let groups = wanted(family, &args.group)?;
    let mut stop = Stop::new(args.duration)?;
    let socket = Socket::open()?;
    let bytes = usize::try_from(args.buffer)?;
    socket.set_receive_buffer(bytes).with_context(|| format!("cannot have a buffer of {bytes} bytes"))?;
    groups.iter().try_for_each(|group| socket.join(group.id))?;
    stop.start_clock();
    let names: Vec<_> = groups.iter().map(|group| printable(&group.name)).collect();
    eprintln!("droptrace: listening to {} of {}; Ctrl-C ends", names.join(", "), printable(&family.name));
    let left = args.count.map_or(u64::MAX, Into::into);
    let decoder = Decoder { family: &family.name, policies: policies.as_ref(), header_size: details.header_size };
    Watch { output, socket, decoder, id: family.id, left }.run(&mut stop).await
}

/// The groups by their names; all without a name.
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
                Received::Overrun => overrun(&mut self.output, self.socket.dropped().ok())?,
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
            // In a storm there is always something, and the end must come all the same.
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
                // A group's number may be shared with another family's.
                if message.as_ref().is_ok_and(|message| message.header.message_type != self.id) {
                    continue;
                }
                self.left -= 1;
                show(&mut self.output, &now(), &self.decoder, &message)?;
            }
            if datagram.is_truncated {
                writeln!(self.output, "{}  the rest of a longer message was lost", now())?;
            }
        }
        Ok(())
    }
}

fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

/// The time is that of reading.
fn show(
    out: &mut impl Write,
    time: &str,
    decoder: &Decoder<'_>,
    message: &Result<Message<'_>, Malformed>,
) -> io::Result<()> {
    let generic = match message {
        Ok(message) => message.generic(),
        Err(error) => Err(*error),
    };
    let (command, attributes) = match generic {
        Ok(generic) => generic,
        Err(error) => return writeln!(out, "{time}  {error}"),
    };
    let name = names::command(decoder.family, command.into()).map(|name| format!(" {name}")).unwrap_or_default();
    writeln!(out, "{time}  {} command {command}{name}", printable(decoder.family))?;
    for (depth, line) in decoder.lines(attributes) {
        writeln!(out, "{:1$}{2}", "", 4 + 2 * depth, printable(&line))?;
    }
    Ok(())
}

fn overrun(out: &mut impl Write, dropped: Option<u32>) -> io::Result<()> {
    let dropped = dropped.map_or_else(String::new, |dropped| format!(": {dropped} since the start"));
    writeln!(out, "{}  OVERRUN: messages were lost here, for the buffer was full{dropped}", now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::netlink::family::tests::net_dm;
    use crate::netlink::nested_policies;

    #[test]
    fn groups_are_found_by_name() {
        let family = net_dm().family;
        assert_eq!(wanted(&family, &[]).unwrap(), [&family.groups[0]]);
        assert_eq!(wanted(&family, &["events".into()]).unwrap(), [&family.groups[0]]);
        let error = wanted(&family, &["packets".into()]).unwrap_err().to_string();
        assert_eq!(error, "the family NET_DM has no multicast group packets; it has: events");
        assert!(wanted(&Family::default(), &[]).is_err());
    }

    #[test]
    fn a_message_and_one_that_makes_no_sense() {
        #[rustfmt::skip]
        let bytes = [
            0x20, 0x00, 0x00, 0x00, 0x1b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // header
            0x05, 0x02, 0x00, 0x00, // NET_DM_CMD_PACKET_ALERT, version 2
            0x0c, 0x00, 0x01, 0x00, 0x08, 0x00, 0x02, 0x00, 0x07, 0x00, 0x00, 0x00, // 1, in it 2: 7
            0xff, 0x00, 0x00, 0x00, // cut
        ];
        let policies = nested_policies();
        let decoder = Decoder { family: "NET_DM", policies: Some(&policies), header_size: 0 };
        let mut out = Vec::new();
        wire::messages(&bytes).for_each(|message| show(&mut out, "now", &decoder, &message).unwrap());
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
