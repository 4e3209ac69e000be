//! Pushes metrics and single drops by OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/>), as protobuf.
//!
//! One thread sends one request at a time, so that an endpoint which is slow, down or faulty delays nothing else.
//! Metrics are sums since the start, so that the next push makes up for a failed one. Single drops wait in a bounded
//! queue; those that found no room, and those that an endpoint did not accept, are counted.

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

pub(crate) use client::Endpoint;
pub(crate) use counts::Counts;
pub(crate) use headers::parse as parse_headers;
pub(crate) use identity::Identity;
pub(crate) use push::{Options, Push};
