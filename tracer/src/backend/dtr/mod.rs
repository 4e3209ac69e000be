//! The format `.dtr` of recordings: blocks, each with its length and its checksum, so that a file that ends anywhere is
//! readable up to there. `docs/reference/recording.md` describes it.

mod block;
mod names;
mod records;

pub(crate) use block::FILE_HEADER;
pub use block::{BlockHeader, BlockKind, checksum};
pub use names::{KeyBytes, entries};
pub(crate) use names::{NameHeader, NameKind};
pub use records::{Records, records};
