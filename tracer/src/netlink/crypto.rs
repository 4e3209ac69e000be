//! The kernel's cryptographic algorithms, as its module `crypto_user` reports them over netlink
//! (`crypto/crypto_user.c`, `include/uapi/linux/cryptouser.h`).

use std::fmt;

use netlink_sys::protocols::NETLINK_CRYPTO;

use super::error::Error;
use super::request::{Connection, Kind};
use super::socket::Socket;
use super::wire::{self, Attribute, Malformed};

/// A registered algorithm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algorithm {
    /// The name of the algorithm, such as `gcm(aes)`. The kernel reports the first 63 bytes of this and of the other
    /// names.
    pub name: String,
    /// The name of the implementation, such as `generic-gcm-aesni`.
    pub driver: String,
    /// The module of the implementation; `kernel` if it is built in.
    pub module: String,
    /// The priority. Of several implementations of an algorithm, the kernel uses the one with the highest priority.
    pub priority: i32,
    /// The number of references to the algorithm, including its own.
    pub references: u32,
    /// The kernel's flags of the algorithm.
    pub flags: Flags,
    /// The kernel's name for the kind of algorithm (`skcipher`, `shash`, `aead`, …); absent if the kernel does not
    /// report it.
    pub kind: Option<String>,
    /// The properties that algorithms of this kind have.
    pub traits: Traits,
    /// The number of attributes that this version does not know.
    pub skipped_attributes: u32,
}

/// Properties that only some kinds of algorithms have. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The size of a hash's result.
    pub digest_size: Option<u32>,
    /// The size of a block; 1 if the data may have any length.
    pub block_size: Option<u32>,
    /// The size of the shortest key.
    pub min_key_size: Option<u32>,
    /// The size of the longest key.
    pub max_key_size: Option<u32>,
    /// The size of the initialization vector; 0 if the algorithm has none.
    pub iv_size: Option<u32>,
    /// The kernel's name for the generator of initialization vectors: `<none>`, `<default>` or a name.
    pub iv_generator: Option<String>,
    /// The size of the longest authentication tag.
    pub max_auth_size: Option<u32>,
    /// The size of a random number generator's seed.
    pub seed_size: Option<u32>,
}

/// `CRYPTO_ALG_…` (`include/linux/crypto.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// The algorithm is a placeholder for one that is being looked up or tested.
    pub(crate) const LARVAL: Self = Self(0x10);
    /// The algorithm is no longer available.
    pub(crate) const DEAD: Self = Self(0x20);
    /// The algorithm is being removed.
    pub(crate) const DYING: Self = Self(0x40);
    /// The algorithm may answer asynchronously.
    pub(crate) const ASYNC: Self = Self(0x80);
    /// The algorithm passed its self-test, or has no self-test.
    pub(crate) const TESTED: Self = Self(0x400);
    /// The algorithm was made from a template and other algorithms.
    pub(crate) const INSTANCE: Self = Self(0x800);
    /// Only other algorithms may use this algorithm.
    pub(crate) const INTERNAL: Self = Self(0x2000);

    /// Returns whether all flags in `other` are set.
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

/// The length in bytes of a name, `CRYPTO_MAX_NAME`.
const NAME: usize = 64;

/// The length in bytes of `struct crypto_user_alg`: three names, then type, mask, reference count, flags.
const HEADER: usize = 3 * NAME + 16;

/// All registered algorithms, in the kernel's order. The request needs no capability.
///
/// The kernel counts its position in a list that may change meanwhile, so an algorithm may appear twice or not at all.
/// If the module is absent and cannot be loaded, the error is [`Error::Open`] with `EPROTONOSUPPORT`.
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
    /// Parses the bytes after the header of a `CRYPTO_MSG_GETALG` message. Unknown attributes are counted.
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

    /// Handles an attribute `CRYPTOCFGA_…`: a structure that starts with the name of the kind. Newer kernels may append
    /// fields.
    fn take(&mut self, attribute: &Attribute<'_>) -> Result<(), Malformed> {
        const PRIORITY: u16 = 1;
        const REPORT_LARVAL: u16 = 2;
        const REPORT_SIG: u16 = 22;
        // The numbers in between are statistics, which old kernels report on request.
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
        // The numbers follow one name, or two names.
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

/// The name at this offset, up to its first NUL.
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
