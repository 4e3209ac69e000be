//! Which connection it was: addresses, ports, mark; and whose socket: process, user. The kernel program counts by these
//! only if it is asked to.

use std::borrow::Cow;
use std::sync::Arc;

use tracer_common::{
    FLOW_DESTINATION, FLOW_DESTINATION_PORT, FLOW_MARK, FLOW_PROCESS, FLOW_SOURCE, FLOW_SOURCE_PORT, FLOW_TRANSPORT,
    FLOW_USER,
};

use super::{Column, Dimension, Members, Value};
use crate::domain::event::NamedKey;
use crate::domain::flow::Flow;
use crate::domain::owner::Process;
use crate::domain::transport::IpProtocol;
use crate::outside::printable;

/// A fact of a flow.
pub(super) struct FlowDimension {
    column: Column,
    /// The name of the JSON member.
    member: &'static str,
    fact: u32,
    value: fn(&Flow) -> Option<Value<'static>>,
    clear: fn(&mut Flow),
}

const fn column(name: &'static str, heading: &'static str) -> Column {
    Column { name, heading, is_attribution: false }
}

pub(super) static PROCESS: FlowDimension = FlowDimension {
    column: column("process", "PROCESS"),
    member: "process",
    fact: FLOW_PROCESS,
    value: |flow| flow.process.as_deref().map(|process| Process::clone(process).into()),
    clear: |flow| flow.process = None,
};

pub(super) static USER: FlowDimension = FlowDimension {
    column: column("user", "USER"),
    member: "uid",
    fact: FLOW_USER,
    value: |flow| flow.uid.map(Value::from),
    clear: |flow| flow.uid = None,
};

pub(super) static SOURCE: FlowDimension = FlowDimension {
    column: column("src", "SRC"),
    member: "src",
    fact: FLOW_SOURCE,
    value: |flow| flow.source.map(|address| address.to_string().into()),
    clear: |flow| flow.source = None,
};

pub(super) static SOURCE_PORT: FlowDimension = FlowDimension {
    column: column("sport", "SPORT"),
    member: "sport",
    fact: FLOW_SOURCE_PORT,
    value: |flow| flow.source_port.map(|port| u32::from(port).into()),
    clear: |flow| flow.source_port = None,
};

pub(super) static DESTINATION: FlowDimension = FlowDimension {
    column: column("dst", "DST"),
    member: "dst",
    fact: FLOW_DESTINATION,
    value: |flow| flow.destination.map(|address| address.to_string().into()),
    clear: |flow| flow.destination = None,
};

pub(super) static DESTINATION_PORT: FlowDimension = FlowDimension {
    column: column("dport", "DPORT"),
    member: "dport",
    fact: FLOW_DESTINATION_PORT,
    value: |flow| flow.destination_port.map(|port| u32::from(port).into()),
    clear: |flow| flow.destination_port = None,
};

pub(super) static TRANSPORT: FlowDimension = FlowDimension {
    column: column("transport", "TRANSPORT"),
    member: "transport",
    fact: FLOW_TRANSPORT,
    value: |flow| flow.transport.map(|number| IpProtocol(number).to_string().into()),
    clear: |flow| flow.transport = None,
};

pub(super) static MARK: FlowDimension = FlowDimension {
    column: column("mark", "MARK"),
    member: "mark",
    fact: FLOW_MARK,
    value: |flow| flow.mark.map(Value::from),
    clear: |flow| flow.mark = None,
};

impl Dimension for FlowDimension {
    fn column(&self) -> &Column {
        &self.column
    }

    fn value<'k>(&self, key: &'k NamedKey) -> Cow<'k, str> {
        let Some(flow) = &key.flow else { return "-".into() };
        match (self.value)(flow) {
            _ if flow.is_others => "(others)".into(),
            Some(Value::Text(text)) => text,
            Some(Value::Number(mark)) if self.fact == FLOW_MARK => format!("{mark:#x}").into(),
            Some(Value::Number(number)) => number.to_string().into(),
            Some(Value::Process(process)) => printable(&process.to_string()).into_owned().into(),
            Some(Value::Truth(_)) | None => "-".into(),
        }
    }

    fn members<'k>(&self, key: &'k NamedKey, members: &mut Members<'k>) {
        members.add(self.member, key.flow.as_deref().and_then(self.value));
    }

    fn flow_fact(&self) -> u32 {
        self.fact
    }

    fn clear(&self, key: &mut NamedKey) {
        if let Some(flow) = &mut key.flow {
            (self.clear)(Arc::make_mut(flow));
        }
    }
}
