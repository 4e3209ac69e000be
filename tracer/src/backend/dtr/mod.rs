//! The format `.dtr` of recordings: blocks, each with its length and its checksum, so that a file that ends anywhere is
//! readable up to there. `docs/recording.md` describes it.

mod block;
mod names;
mod records;

pub use block::{BlockHeader, BlockKind, FILE_HEADER, MAX_SECTION, checksum};
pub use names::{KeyBytes, NameHeader, NameKind, entries};
pub use records::{Records, records};
