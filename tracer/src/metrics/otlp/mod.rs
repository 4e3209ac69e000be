//! Figures and single drops, pushed by OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/>), as protobuf.
//!
//! One thread sends one request at a time, so that an endpoint which is slow, down or mad delays nothing else. Figures
//! are sums since the start: a push that failed is made up for by the next one. Single drops wait in a queue with an
//! end; those that found no room, and those that an endpoint would not have, are counted.

mod answer;
mod client;
mod counts;
mod headers;
mod identity;
mod lane;
mod message;
mod push;
mod queue;
mod record;
#[cfg(test)]
mod tests;

pub use client::{Endpoint, EndpointError};
pub use counts::{Counts, Signal};
pub use headers::{HeadersError, parse as parse_headers};
pub use identity::Identity;
pub use push::{Options, Push};
