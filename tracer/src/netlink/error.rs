//! Errors of the communication between this process and the kernel.

use std::fmt;
use std::io;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};
use thiserror::Error;

use super::wire::{self, Malformed, NETLINK_HEADER};

/// The reason why a netlink operation failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The socket could not be opened.
    #[error("cannot open a netlink socket")]
    Open {
        /// The system's error.
        source: io::Error,
    },
    /// A required option could not be set.
    #[error("cannot set {option} of a netlink socket")]
    Option {
        /// The name of the option in `include/uapi/linux/netlink.h`.
        option: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The socket could not join or leave a multicast group.
    #[error("cannot join multicast group {group}")]
    Join {
        /// The number of the group.
        group: u32,
        /// The system's error.
        source: io::Error,
    },
    /// The request could not be sent.
    #[error("cannot send {request}")]
    Send {
        /// The name of the request.
        request: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The socket could not be read.
    #[error("cannot receive from netlink")]
    Receive {
        /// The system's error.
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("the kernel refused {request}")]
    Refused {
        /// The name of the request.
        request: &'static str,
        /// The kernel's answer.
        source: Refusal,
    },
    /// The kernel did not answer.
    #[error("the kernel did not answer {request} within {} s", .after.as_secs_f32())]
    Timeout {
        /// The name of the request.
        request: &'static str,
        /// The time for which droptrace waited.
        after: Duration,
    },
    /// The answer did not fit into the socket's receive buffer.
    #[error("the answer to {request} was lost: the socket's receive buffer was full")]
    AnswerLost {
        /// The name of the request.
        request: &'static str,
    },
    /// The listed objects changed during the listing (`NLM_F_DUMP_INTR`), so the list may be wrong.
    #[error("the answer to {request} changed while it was read")]
    Interrupted {
        /// The name of the request.
        request: &'static str,
    },
    /// The answer is malformed.
    #[error("the answer to {request} makes no sense")]
    Malformed {
        /// The name of the request.
        request: &'static str,
        /// The reason.
        source: Malformed,
    },
    /// The kernel has no family with this name.
    #[error(
        "this kernel has no generic netlink family {name} here: its module is not loaded and could not be loaded \
         (`modprobe`), or the kernel was built without it, or it only answers in the first network namespace"
    )]
    NoFamily {
        /// The name of the family.
        name: String,
    },
    /// The family has no such multicast group.
    #[error("the generic netlink family {family} has no multicast group {group}")]
    NoGroup {
        /// The name of the family.
        family: String,
        /// The name of the group.
        group: &'static str,
    },
}

impl Error {
    /// The number of the error that the kernel answered with; absent if the kernel did not answer with an error.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open { source }
            | Self::Option { source, .. }
            | Self::Join { source, .. }
            | Self::Send { source, .. }
            | Self::Receive { source } => source.raw_os_error(),
            Self::Refused { source, .. } => Some(source.errno),
            Self::NoFamily { .. } => Some(libc::ENOENT),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    /// The system's error, if there is one, keeps its number.
    fn from(error: Error) -> Self {
        match error.errno() {
            Some(errno) => Self::from_raw_os_error(errno),
            None => Self::other(error),
        }
    }
}

/// An error that the kernel answered with, and the details of the error (`enum nlmsgerr_attrs`,
/// `include/uapi/linux/netlink.h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the error, positive.
    pub errno: i32,
    /// The kernel's message; absent if the kernel sent none.
    pub message: Option<String>,
    /// The offset of the invalid attribute in the request, in bytes from the netlink header; absent if not reported.
    pub offset: Option<u32>,
    /// The type of a missing attribute; absent if not reported.
    pub missing: Option<u32>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.errno).fmt(f)?;
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, " (at byte {offset} of the request)")?;
        }
        if let Some(missing) = self.missing {
            write!(f, " (attribute {missing} is missing)")?;
        }
        Ok(())
    }
}

const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

impl Refusal {
    /// Parses the payload of `NLMSG_ERROR`; `flags` are those of its header. Returns `None` for an acknowledgement.
    pub(super) fn parse(flags: u16, payload: &[u8]) -> Result<Option<Self>, Malformed> {
        let (errno, rest) = errno(payload)?;
        // The kernel repeats the request, but only its header if the answer is capped.
        let repeated = match flags & NLM_F_CAPPED {
            0 => rest.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length) as usize).max(NETLINK_HEADER),
            _ => NETLINK_HEADER,
        };
        let details = rest.get(wire::align(repeated)..).unwrap_or_default();
        Ok((errno != 0).then(|| Self::with_details(errno, flags, details)))
    }

    /// Parses the payload of `NLMSG_DONE`. Returns `None` for a complete list.
    pub(super) fn parse_done(flags: u16, payload: &[u8]) -> Result<Option<Self>, Malformed> {
        if payload.is_empty() {
            return Ok(None);
        }
        let (errno, details) = errno(payload)?;
        Ok((errno != 0).then(|| Self::with_details(errno, flags, details)))
    }

    /// Malformed details are left out, because the number of the error is enough.
    fn with_details(errno: i32, flags: u16, details: &[u8]) -> Self {
        let mut refusal = Self { errno, message: None, offset: None, missing: None };
        if flags & NLM_F_ACK_TLVS != 0 {
            for attribute in wire::attributes(details).map_while(Result::ok) {
                match attribute.kind {
                    NLMSGERR_ATTR_MSG => {
                        refusal.message = Some(String::from_utf8_lossy(attribute.until_nul()).into_owned());
                    }
                    NLMSGERR_ATTR_OFFS => refusal.offset = attribute.u32().ok(),
                    NLMSGERR_ATTR_MISS_TYPE => refusal.missing = attribute.u32().ok(),
                    _ => {}
                }
            }
        }
        refusal
    }
}

fn errno(payload: &[u8]) -> Result<(i32, &[u8]), Malformed> {
    let (code, rest) = payload.split_first_chunk().ok_or(Malformed("an error without its number"))?;
    Ok((i32::from_ne_bytes(*code).saturating_neg(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capped answer with the kernel's message and an offset, as for CONFIG while monitoring runs.
    #[rustfmt::skip]
    const BUSY: [u8; 56] = [
        0xf0, 0xff, 0xff, 0xff, // -EBUSY
        0x14, 0x00, 0x00, 0x00, // request: 20 bytes,
        0x1b, 0x00, 0x05, 0x00, // family 27, NLM_F_REQUEST | NLM_F_ACK,
        0x02, 0x00, 0x00, 0x00, // second request
        0x05, 0x30, 0x00, 0x00, // of port 0x3005
        0x21, 0x00, 0x01, 0x00, // 33 bytes of NLMSGERR_ATTR_MSG
        b'C', b'a', b'n', b'n', b'o', b't', b' ', b'c', b'o', b'n', b'f', b'i', b'g', b'u', b'r', b'e',
        b' ', b'm', b'o', b'n', b'i', b't', b'o', b'r', b' ', b'n', b'o', b'w', 0x00,
        0x00, 0x00, 0x00, // padding
    ];

    fn flags() -> u16 {
        NLM_F_CAPPED | NLM_F_ACK_TLVS
    }

    #[test]
    fn refusal_shows_the_kernels_message() {
        let bytes = [&BUSY[..], &[0x08, 0, 2, 0, 0x24, 0, 0, 0]].concat();
        let refusal = Refusal::parse(flags(), &bytes).unwrap().unwrap();
        assert_eq!((refusal.errno, refusal.offset), (libc::EBUSY, Some(0x24)));
        let text = refusal.to_string();
        assert!(text.ends_with(": Cannot configure monitor now (at byte 36 of the request)"), "{text}");
    }

    #[test]
    fn truncated_details_do_not_hide_the_error() {
        for length in 4..BUSY.len() {
            assert_eq!(Refusal::parse(flags(), &BUSY[..length]).unwrap().unwrap().errno, libc::EBUSY);
        }
        for length in 0..4 {
            assert!(Refusal::parse(flags(), &BUSY[..length]).is_err());
        }
    }

    #[test]
    fn an_uncapped_answer_repeats_the_whole_request() {
        // -ENOENT, a request of 21 bytes (24 with padding), then attribute 5 of 4 bytes.
        let mut bytes = vec![0xfe, 0xff, 0xff, 0xff, 21, 0, 0, 0];
        bytes.resize(4 + 24, 0xee);
        bytes.extend([8, 0, 5, 0, 9, 0, 0, 0]);
        let refusal = Refusal::parse(NLM_F_ACK_TLVS, &bytes).unwrap().unwrap();
        assert_eq!((refusal.errno, refusal.missing), (libc::ENOENT, Some(9)));
    }

    #[test]
    fn an_acknowledgement_is_no_refusal() {
        assert_eq!(Refusal::parse(NLM_F_CAPPED, &[0; 20]).unwrap(), None);
        assert_eq!(Refusal::parse_done(0, &[]).unwrap(), None);
        assert_eq!(Refusal::parse_done(0, &[0; 4]).unwrap(), None);
        assert_eq!(Refusal::parse_done(0, &(-5_i32).to_ne_bytes()).unwrap().unwrap().errno, 5);
        // The least number has no positive counterpart.
        assert_eq!(Refusal::parse_done(0, &i32::MIN.to_ne_bytes()).unwrap().unwrap().errno, i32::MAX);
    }
}
