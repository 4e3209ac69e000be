//! The kernel's cryptography, as its module `crypto_user` tells it by netlink (`crypto/crypto_user.c`,
//! `include/uapi/linux/cryptouser.h`).

use std::fmt;

use netlink_sys::protocols::NETLINK_CRYPTO;

use super::error::Error;
use super::request::{Connection, Kind};
use super::socket::Socket;
use super::wire::{self, Attribute, Malformed};

/// An algorithm that is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algorithm {
    /// What it computes: `gcm(aes)`. The kernel tells the first 63 bytes of it, and so of the other names.
    pub name: String,
    /// Which code does so: `generic-gcm-aesni`.
    pub driver: String,
    /// The module of that code; `kernel` where it is built in.
    pub module: String,
    /// Of several that compute the same, the one with the highest is taken.
    pub priority: i32,
    /// Who holds it, itself included.
    pub references: u32,
    /// What the kernel notes of it.
    pub flags: Flags,
    /// `skcipher`, `shash`, `aead`, … as the kernel calls it; none where it does not say.
    pub kind: Option<String>,
    /// What an algorithm of its kind has.
    pub traits: Traits,
    /// Attributes that this version does not know.
    pub skipped_attributes: u32,
}

/// What only some kinds of algorithms have, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Of a hash: its result.
    pub digest_size: Option<u32>,
    /// What data is a multiple of; 1 for any length.
    pub block_size: Option<u32>,
    /// The shortest key.
    pub min_key_size: Option<u32>,
    /// The longest key.
    pub max_key_size: Option<u32>,
    /// The initialization vector; 0 for none.
    pub iv_size: Option<u32>,
    /// What makes initialization vectors, as the kernel calls it: `<none>`, `<default>` or a name.
    pub iv_generator: Option<String>,
    /// The longest authentication tag.
    pub max_auth_size: Option<u32>,
    /// Of a random number generator: its seed.
    pub seed_size: Option<u32>,
}

/// `CRYPTO_ALG_…` (`include/linux/crypto.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// A placeholder for an algorithm that is being looked for or tested.
    pub const LARVAL: Self = Self(0x10);
    /// It is no longer to be had.
    pub const DEAD: Self = Self(0x20);
    /// It is being removed.
    pub const DYING: Self = Self(0x40);
    /// It may answer later.
    pub const ASYNC: Self = Self(0x80);
    /// It passed its self-test, or there is none for it.
    pub const TESTED: Self = Self(0x400);
    /// It was made of a template and other algorithms.
    pub const INSTANCE: Self = Self(0x800);
    /// It is for other algorithms only.
    pub const INTERNAL: Self = Self(0x2000);

    /// Are these set?
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::LowerHex for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `CRYPTO_MSG_GETALG`.
const GET: u16 = 0x13;

/// Bytes of a name, `CRYPTO_MAX_NAME`.
const NAME: usize = 64;

/// Bytes of `struct crypto_user_alg`: three names, then type, mask, reference count, flags.
const HEADER: usize = 3 * NAME + 16;

/// All algorithms that are registered, in the kernel's order. It takes no rights.
///
/// The kernel counts its way through a list that may change meanwhile: then one may come twice or not at all. Where the
/// module is not there and cannot be loaded, the error is [`Error::Open`] with `EPROTONOSUPPORT`.
pub async fn list() -> Result<Vec<Algorithm>, Error> {
    let mut connection = Connection::by(Socket::of(NETLINK_CRYPTO)?);
    let mut algorithms = Vec::new();
    let take = |message: &wire::Message<'_>| {
        algorithms.push(Algorithm::parse(message.payload)?);
        Ok(())
    };
    connection.call_raw("CRYPTO_MSG_GETALG", GET, &[0; HEADER], Kind::Dump, take).await?;
    Ok(algorithms)
}

impl Algorithm {
    /// From what follows the header of a `CRYPTO_MSG_GETALG` message. Attributes that are not known are counted.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let (header, attributes) =
            payload.split_at_checked(HEADER).ok_or(Malformed("an algorithm with too few bytes"))?;
        let mut algorithm = Self {
            name: text(header, 0)?,
            driver: text(header, NAME)?,
            module: text(header, 2 * NAME)?,
            references: number(header, 3 * NAME + 8)?,
            flags: Flags(number(header, 3 * NAME + 12)?),
            ..Self::default()
        };
        for attribute in wire::attributes(attributes) {
            algorithm.take(&attribute?)?;
        }
        Ok(algorithm)
    }

    /// `CRYPTOCFGA_…`: structures that start with the kind's name. Newer kernels may append to them.
    fn take(&mut self, attribute: &Attribute<'_>) -> Result<(), Malformed> {
        const PRIORITY: u16 = 1;
        const REPORT_LARVAL: u16 = 2;
        const REPORT_SIG: u16 = 22;
        // Those between are statistics, which old kernels told when asked for them.
        const REPORT_ACOMP: u16 = 11;
        match attribute.kind {
            PRIORITY => self.priority = attribute.u32()?.cast_signed(),
            kind @ (REPORT_LARVAL..=REPORT_ACOMP | REPORT_SIG) => {
                self.kind = Some(text(attribute.value, 0)?).filter(|name| !name.is_empty());
                self.traits = Traits::parse(kind, attribute.value)?;
            }
            _ => self.skipped_attributes += 1,
        }
        Ok(())
    }
}

impl Traits {
    fn parse(attribute: u16, report: &[u8]) -> Result<Self, Malformed> {
        const HASH: u16 = 3;
        const BLKCIPHER: u16 = 4;
        const AEAD: u16 = 5;
        const RNG: u16 = 7;
        const CIPHER: u16 = 8;
        // The numbers stand behind one name, or behind two.
        let first = |index: usize| number(report, NAME + 4 * index).map(Some);
        let second = |index: usize| number(report, 2 * NAME + 4 * index).map(Some);
        let none = Self::default();
        Ok(match attribute {
            HASH => Self { block_size: first(0)?, digest_size: first(1)?, ..none },
            CIPHER => Self { block_size: first(0)?, min_key_size: first(1)?, max_key_size: first(2)?, ..none },
            BLKCIPHER => Self {
                iv_generator: generator(report)?,
                block_size: second(0)?,
                min_key_size: second(1)?,
                max_key_size: second(2)?,
                iv_size: second(3)?,
                ..none
            },
            AEAD => Self {
                iv_generator: generator(report)?,
                block_size: second(0)?,
                max_auth_size: second(1)?,
                iv_size: second(2)?,
                ..none
            },
            RNG => Self { seed_size: first(0)?, ..none },
            _ => none,
        })
    }
}

fn generator(report: &[u8]) -> Result<Option<String>, Malformed> {
    Ok(Some(text(report, NAME)?).filter(|name| !name.is_empty()))
}

const SHORT: Malformed = Malformed("an algorithm's report with too few bytes");

/// The name that starts there, up to its first NUL.
fn text(bytes: &[u8], at: usize) -> Result<String, Malformed> {
    let name = bytes.get(at..).and_then(|rest| rest.get(..NAME)).ok_or(SHORT)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

fn number(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SHORT)?;
    Ok(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
pub(crate) mod tests;
