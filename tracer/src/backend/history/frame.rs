//! The frames of a history's files.
//!
//! A file is a sequence of frames without anything around them. A frame is a header of 36 bytes and a body, which one zstd
//! frame compresses. All numbers are little-endian. A reader finds the next frame behind damage by its first bytes, so that
//! one interval that was torn by a kill, a full disk or a power failure costs no other interval.

use std::io;

use memchr::memmem;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::domain::event::Timestamp;
use crate::domain::past::Span;

/// The first bytes of a frame: a byte that is no text, the name of the format, the ends of lines that a transfer as text would
/// change, and the version.
const MAGIC: [u8; 8] = *b"\x89DTH\r\n\x1a\x01";

/// Bytes of a body at most, compressed or not: 65,536 rows with the longest names that hosts have are some 60 MB.
const MAX_BODY: u32 = 128 << 20;

/// The level of compression: a higher one takes several times the time for a tenth less.
const LEVEL: i32 = 3;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct FrameHeader {
    magic: [u8; 8],
    /// Bytes of the compressed body.
    packed: U32,
    /// Bytes of the body.
    plain: U32,
    /// The first and the last moment that drops of the interval may have, in nanoseconds since the Unix epoch.
    from_ns: U64,
    to_ns: U64,
    /// CRC-32 (ISO-HDLC, as in gzip) of this header with a checksum of 0, and of the compressed body.
    checksum: U32,
}

const _: () = assert!(size_of::<FrameHeader>() == 36);

impl FrameHeader {
    fn checksum_with(self, packed: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(Self { checksum: 0.into(), ..self }.as_bytes());
        hasher.update(packed);
        hasher.finalize()
    }
}

/// Makes a frame of this body, whose drops are of this time.
///
/// # Errors
/// Fails if the body is longer than 128 MiB.
pub(crate) fn sealed(body: &[u8], span: Span) -> io::Result<Vec<u8>> {
    let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, format!("an interval has {} bytes", body.len()));
    let plain = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_BODY).ok_or_else(too_long)?;
    let packed = zstd::bulk::compress(body, LEVEL)?;
    let length = u32::try_from(packed.len()).ok().filter(|length| *length <= MAX_BODY).ok_or_else(too_long)?;
    let mut header = FrameHeader {
        magic: MAGIC,
        packed: length.into(),
        plain: plain.into(),
        from_ns: span.from.0.into(),
        to_ns: span.to.0.into(),
        checksum: 0.into(),
    };
    header.checksum = header.checksum_with(&packed).into();
    Ok([header.as_bytes(), &packed].concat())
}

/// A frame whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'f> {
    /// The time that drops of the interval may have.
    pub(super) span: Span,
    packed: &'f [u8],
    plain: u32,
}

impl Frame<'_> {
    /// The body.
    ///
    /// # Errors
    /// Fails if the body has another length than its header says, or cannot be decompressed.
    pub(super) fn body(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.plain).unwrap_or(usize::MAX);
        let body = zstd::bulk::decompress(self.packed, length)?;
        if body.len() == length { Ok(body) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'f> {
    /// A frame.
    Frame(Frame<'f>),
    /// Bytes that are no frame, by their number.
    Damage(usize),
}

/// The parts of a file's content, in order.
pub(super) fn parts(mut rest: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((frame, behind)) = frame(rest) {
            rest = behind;
            return Some(Part::Frame(frame));
        }
        let damaged = next_frame(rest);
        rest = &rest[damaged..];
        Some(Part::Damage(damaged))
    })
}

/// The frame that these bytes start with, and the bytes behind it.
fn frame(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (header, rest) = FrameHeader::read_from_prefix(bytes).ok()?;
    let is_short = |length: U32| length.get() <= MAX_BODY;
    if header.magic != MAGIC || !is_short(header.packed) || !is_short(header.plain) {
        return None;
    }
    let (packed, behind) = rest.split_at_checked(usize::try_from(header.packed.get()).ok()?)?;
    let span = Span { from: Timestamp(header.from_ns.get()), to: Timestamp(header.to_ns.get()) };
    let is_whole = header.checksum_with(packed) == header.checksum.get();
    is_whole.then_some((Frame { span, packed, plain: header.plain.get() }, behind))
}

/// Number of bytes before the next whole frame: all bytes if there is none.
fn next_frame(bytes: &[u8]) -> usize {
    let mut found = memmem::find_iter(bytes, &MAGIC).filter(|at| *at > 0);
    found.find(|at| frame(&bytes[*at..]).is_some()).unwrap_or(bytes.len())
}

/// Sets the checksums of all frames to what they should be, for checks of what is inside.
pub(crate) fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Ok((mut header, rest)) = FrameHeader::read_from_prefix(&bytes[at..]) {
        let length = usize::try_from(header.packed.get()).unwrap_or(usize::MAX);
        let Some(packed) = rest.get(..length) else { break };
        header.checksum = header.checksum_with(packed).into();
        let end = at + size_of::<FrameHeader>() + length;
        bytes[at..at + size_of::<FrameHeader>()].copy_from_slice(header.as_bytes());
        at = end;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: u64) -> Span {
        Span { from: Timestamp(from), to: Timestamp(from + 10) }
    }

    fn file() -> (Vec<u8>, [usize; 2]) {
        let frames = [1, 2, 3].map(|number| sealed(format!("body {number}").as_bytes(), span(number)).unwrap());
        let ends = [frames[0].len(), frames[0].len() + frames[1].len()];
        (frames.concat(), ends)
    }

    fn bodies(bytes: &[u8]) -> (Vec<String>, usize) {
        let (mut bodies, mut damaged) = (vec![], 0);
        for part in parts(bytes) {
            match part {
                Part::Frame(frame) => bodies.push(String::from_utf8(frame.body().unwrap()).unwrap()),
                Part::Damage(bytes) => damaged += bytes,
            }
        }
        (bodies, damaged)
    }

    #[test]
    fn frames_are_read_as_they_were_written() {
        let (file, _) = file();
        assert_eq!(bodies(&file), (vec!["body 1".into(), "body 2".into(), "body 3".into()], 0));
        let spans: Vec<_> =
            parts(&file).map(|part| matches!(part, Part::Frame(frame) if frame.span.from.0 > 0)).collect();
        assert_eq!(spans, [true; 3]);
        assert_eq!(bodies(&[]), (vec![], 0));
    }

    #[test]
    fn torn_frame_is_counted_and_costs_no_other() {
        let (file, ends) = file();
        for cut in ends[1] + 1..file.len() {
            assert_eq!(bodies(&file[..cut]), (vec!["body 1".into(), "body 2".into()], cut - ends[1]));
        }
        // An agent that starts again appends behind the torn frame.
        let again = [&file[..ends[1] - 3], &file[ends[1]..]].concat();
        assert_eq!(bodies(&again), (vec!["body 1".into(), "body 3".into()], ends[1] - ends[0] - 3));
    }

    #[test]
    fn changed_byte_costs_one_frame() {
        let (file, ends) = file();
        for at in ends[0]..ends[1] {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            assert_eq!(bodies(&changed), (vec!["body 1".into(), "body 3".into()], ends[1] - ends[0]), "byte {at}");
        }
    }

    #[test]
    fn length_that_lies_is_refused() {
        let mut frame = sealed(&[7; 100], span(1)).unwrap();
        frame[12] = 99;
        let frame = resealed(frame);
        let Some(Part::Frame(frame)) = parts(&frame).next() else { panic!("no frame") };
        assert!(frame.body().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
            let mut file = file().0;
            let at = at.min(file.len());
            drop(file.splice(at..at, bytes.iter().copied()));
            let length: usize = parts(&file).map(|part| match part {
                Part::Frame(frame) => size_of::<FrameHeader>() + frame.packed.len(),
                Part::Damage(bytes) => bytes,
            }).sum();
            prop_assert_eq!(length, file.len());
        }
    }
}
