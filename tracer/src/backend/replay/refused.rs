//! Reasons why a line of a recording is left out.

use thiserror::Error;

use super::SCHEMA;

/// Reason why a line is left out.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    /// The line is no JSON, or lacks a field.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// The line has another schema.
    #[error("it has the schema {0}; this version reads {SCHEMA}")]
    Schema(String),
    /// The value of a field has no meaning.
    #[error("{0}")]
    Field(&'static str),
}
