//! Single drops as logs.

use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tests::agent::Agent;
use tests::collector::{Collector, TAKEN};
use tests::eventually;

use super::storm;

/// Each drop of a short storm arrives once.
pub(super) fn drops_arrive() -> Result<()> {
    let collector = Collector::start(|_| TAKEN.to_vec())?;
    let (storm, netns) = storm("logged")?;
    // Other tests cause drops, too.
    let agent = Agent::start(&["--netns", &netns, "--otlp-logs", &collector.url(), "--otlp-logs-rate", "100000"])?;
    storm.send(200)?;
    let dropped = usize::try_from(storm.dropped()?)?;
    ensure!(dropped > 0, "nothing was dropped");
    let mut records = vec![];
    while records.len() < dropped {
        let request = collector.next().with_context(|| format!("{} of {dropped} arrived", records.len()))?;
        let request = ExportLogsServiceRequest::decode(&*request.body)?;
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let all = scopes.flat_map(|scope| scope.log_records);
        records.extend(all.filter(|record| text(record, "netns_name") == Some(&netns)));
    }
    ensure!(records.len() == dropped, "{} arrived of {dropped}", records.len());
    for record in &records {
        ensure!(text(record, "transport") == Some("udp") && text(record, "address").is_none(), "{record:?}");
    }
    let taken = [("signal", "logs"), ("result", "ok")];
    eventually("the count of pushes", || Ok(agent.scrape()?.sum("droptrace_otlp_exports_total", &taken) > 0))?;
    let lost = agent.scrape()?.sum("droptrace_otlp_lost_total", &[("signal", "logs")]);
    ensure!(lost == 0, "{lost} lost");
    agent.finish()?;
    Ok(())
}

fn text<'r>(record: &'r LogRecord, name: &str) -> Option<&'r str> {
    let attribute = record.attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
