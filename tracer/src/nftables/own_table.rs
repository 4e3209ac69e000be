//! The table of droptrace: it marks packets, so that the kernel traces them, and touches nothing else.
//!
//! ```text
//! table inet droptrace-trace {
//!   chain prerouting { type filter hook prerouting priority -2147483648; CONDITIONS goto sample }
//!   chain output { type filter hook output priority -2147483648; CONDITIONS goto sample }
//!   chain sample { counter limit rate N/second burst N packets counter meta nftrace set 1 accept }
//! }
//! ```

use std::io;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::attributes::{Body, number};
use super::error::NftablesError;
use super::expressions::Expressions;
use super::selection::Selection;
use super::text::counters;
use super::{HEADER, INET, family_name, leftover, message, socket_in};
use crate::identity::netns;
use crate::netlink::wire::{self, Malformed};
use crate::netlink::{BatchCommand, Connection, Error, Kind};

/// The name of the table.
pub(crate) const TABLE: &str = "droptrace-trace";
/// The chain whose rule marks packets.
const SAMPLE: &str = "sample";
/// The base chains, and the numbers of their hooks (`enum nf_inet_hooks`).
const BASE_CHAINS: [(&str, u32); 2] = [("prerouting", 0), ("output", 3)];
/// Before all other chains, in the units of `enum nf_ip_hook_priorities`.
const PRIORITY: u32 = i32::MIN.cast_unsigned();

/// `NLM_F_EXCL`, `NLM_F_CREATE` and `NLM_F_APPEND` (`include/uapi/linux/netlink.h`).
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// `NFTA_TABLE_FLAGS`, and `NFT_TABLE_F_OWNER` in it.
const TABLE_FLAGS: u16 = 2;
const OWNER: u32 = 2;

/// The packets that the table has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sampled {
    /// Packets that met the conditions.
    pub(crate) selected: u64,
    /// Those of them within the limit, which are traced.
    pub(crate) traced: u64,
}

/// The table, and the socket that it lives with.
pub(crate) struct OwnTable {
    connection: Connection,
    /// The kernel deletes the table with the socket. Kernels before 5.12 do not.
    pub(crate) is_owned: bool,
    /// Held on kernels that know no owners, so that nobody deletes the table of another run.
    _lock: Option<UnixListener>,
}

impl OwnTable {
    /// Makes the table in a network namespace: at most `per_second` packets are traced in a second. Deletes the table of an
    /// earlier run that was killed on a kernel before 5.12, but no table of anybody else.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN` in the namespace; `EOPNOTSUPP` if the kernel has no nftables; another run has the
    /// table, or somebody else has a table of this name.
    pub(crate) async fn make(
        namespace: BorrowedFd<'_>,
        selection: &Selection,
        per_second: u32,
    ) -> Result<Self, NftablesError> {
        let mut connection = Connection::by(socket_in(namespace)?);
        let (is_owned, lock) = match create(&mut connection, selection, per_second, OWNER).await {
            Ok(()) => (true, None),
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EEXIST | libc::EPERM)) => {
                replace(&mut connection, namespace, selection, per_second, error).await?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { connection, is_owned, _lock: lock })
    }

    /// The connection to nftables, for further requests.
    pub(crate) const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Ends the marking of packets, and returns how many there were. The table stays.
    pub(crate) async fn end(&mut self) -> Result<Sampled, Error> {
        let rules = BASE_CHAINS
            .map(|(chain, _)| command(message::DELETE_RULE, 0, Body::of(INET).text(1, TABLE).text(2, chain)));
        self.connection.batch("NFT_MSG_DELRULE", super::SUBSYSTEM, &rules).await?;
        let mut sampled = Sampled::default();
        let body = Body::of(INET).text(1, TABLE).text(2, SAMPLE).into_bytes();
        let visit = |message: &wire::Message<'_>| {
            let [selected, traced] = counters(message.payload)?;
            sampled = Sampled { selected, traced };
            Ok(())
        };
        self.connection.call_raw("NFT_MSG_GETRULE", message::GET_RULE, &body, Kind::Dump, visit).await?;
        Ok(sampled)
    }

    /// Deletes the table.
    pub(crate) async fn remove(mut self) -> Result<(), Error> {
        self.connection.batch("NFT_MSG_DELTABLE", super::SUBSYSTEM, &[deletion()]).await
    }
}

/// Makes the table after that of an earlier run is deleted, without an owner and with a lock if the kernel knows no owners.
/// `error` is why there is no owned table.
async fn replace(
    connection: &mut Connection,
    namespace: BorrowedFd<'_>,
    selection: &Selection,
    per_second: u32,
    error: Error,
) -> Result<(bool, Option<UnixListener>), NftablesError> {
    let already = || NftablesError::AlreadyTracing { family: family_name(INET), table: TABLE };
    let found = flags(connection).await?;
    if found.is_some_and(|flags| flags & OWNER != 0) {
        return Err(already());
    }
    if found.is_none() && error.errno() != Some(libc::EINVAL) {
        return Err(error.into());
    }
    let lock = match netns::visit(namespace, lock) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(already()),
        lock => lock.map_err(|source| NftablesError::Lock { source })?,
    };
    if found.is_some() {
        if !leftover::is_own(connection, TABLE, SAMPLE, &BASE_CHAINS.map(|(name, _)| name)).await? {
            return Err(NftablesError::ForeignTable { family: family_name(INET), table: TABLE });
        }
        connection.batch("NFT_MSG_DELTABLE", super::SUBSYSTEM, &[deletion()]).await?;
        match create(connection, selection, per_second, OWNER).await {
            Err(error) if error.errno() == Some(libc::EINVAL) => {}
            made => return made.map(|()| (true, None)).map_err(NftablesError::from),
        }
    }
    create(connection, selection, per_second, 0).await?;
    Ok((false, Some(lock)))
}

/// The lock: an abstract address of a Unix socket, which a network namespace has once, and which ends with the process.
fn lock() -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(TABLE)?)
}

/// The flags of the table; `None` if there is no such table.
async fn flags(connection: &mut Connection) -> Result<Option<u32>, Error> {
    let mut flags = None;
    let body = Body::of(INET).text(1, TABLE).into_bytes();
    let visit = |message: &wire::Message<'_>| {
        flags = Some(0);
        for attribute in wire::attributes(message.payload.get(HEADER..).ok_or(Malformed("a table without a family"))?) {
            let attribute = attribute?;
            if attribute.kind == TABLE_FLAGS {
                flags = Some(number(&attribute)?);
            }
        }
        Ok(())
    };
    match connection.call_raw("NFT_MSG_GETTABLE", message::GET_TABLE, &body, Kind::Do, visit).await {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(None),
        answer => answer.map(|()| flags),
    }
}

async fn create(connection: &mut Connection, selection: &Selection, per_second: u32, flags: u32) -> Result<(), Error> {
    let table = Body::of(INET).text(1, TABLE).number(TABLE_FLAGS, flags);
    let mut commands = vec![command(message::NEW_TABLE, CREATE | EXCLUSIVE, table), chain(SAMPLE, None)];
    commands.extend(BASE_CHAINS.map(|(name, hook)| chain(name, Some(hook))));
    let sample = Expressions::new().counter().limit(per_second).counter().set_trace().accept();
    commands.push(rule(SAMPLE, &sample));
    for (name, _) in BASE_CHAINS {
        commands.extend(selection.rules().iter().map(|conditions| rule(name, &conditions.clone().goto(SAMPLE))));
    }
    connection.batch("NFT_MSG_NEWTABLE", super::SUBSYSTEM, &commands).await
}

fn deletion() -> BatchCommand {
    command(message::DELETE_TABLE, 0, Body::of(INET).text(1, TABLE))
}

/// A chain; a base chain if it has a hook.
fn chain(name: &str, hook: Option<u32>) -> BatchCommand {
    let body = Body::of(INET).text(1, TABLE).text(3, name);
    let body = match hook {
        Some(hook) => body.within(4, &Body::nested().number(1, hook).number(2, PRIORITY)).text(7, "filter"),
        None => body,
    };
    command(message::NEW_CHAIN, CREATE, body)
}

fn rule(chain: &str, expressions: &Expressions) -> BatchCommand {
    let body = Body::of(INET).text(1, TABLE).text(2, chain).within(4, expressions.body());
    command(message::NEW_RULE, CREATE | APPEND, body)
}

fn command(message_type: u16, flags: u16, body: Body) -> BatchCommand {
    BatchCommand { message_type, flags, body: body.into_bytes() }
}
