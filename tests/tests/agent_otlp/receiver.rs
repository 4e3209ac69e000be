//! Engines that take pushes and scrape.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::folder::Folder;
use tests::prometheus::{self, Server};
use tests::trials::Unable;
use tests::{eventually, patience};

/// An address without a listener.
pub(super) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// An engine; it ends with its handle, and its folder goes.
pub(super) struct Receiver {
    prometheus: Option<Server>,
    victoria_metrics: Option<Child>,
    /// Beginning of the URL of queries.
    api: String,
    /// URL of the pushes.
    pub(super) otlp: String,
    agent: ureq::Agent,
    _folder: Folder,
}

impl Receiver {
    /// Prometheus, which scrapes `target` under the job `scraped`.
    pub(super) fn prometheus(target: &str) -> Result<Self> {
        let folder = Folder::new("otlp")?;
        let help = Command::new(prometheus::program("prometheus")?).arg("--help").output()?;
        let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
        // A flag since 3.0, before that a feature.
        let flag = "--web.enable-otlp-receiver";
        let option = if help.contains(flag) { flag } else { "--enable-feature=otlp-write-receiver" };
        let server = Server::start(&folder, &scraping(target), &[option], |command| Ok(command.spawn()?))?;
        let url = server.url();
        let mut receiver = Self::new(&url, "/api/v1/otlp", folder);
        receiver.prometheus = Some(server);
        let answer = receiver.agent.post(format!("{}/v1/metrics", receiver.otlp)).send(&[][..])?;
        ensure!(answer.status() != 404, Unable("this Prometheus was built without the receiver for OTLP".to_owned()));
        Ok(receiver)
    }

    /// `VictoriaMetrics`, which scrapes `target` likewise. `renames` has it make Prometheus' names of OTLP's.
    pub(super) fn victoria_metrics(target: &str, renames: bool) -> Result<Self> {
        let folder = Folder::new("otlp")?;
        let configuration = folder.write("scrape.yml", scraping(target))?;
        let address = free_address()?;
        let child = Command::new(prometheus::program("victoria-metrics")?)
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", folder.path("data")))
            .arg(format!("-promscrape.config={configuration}"))
            .arg(format!("-opentelemetry.usePrometheusNaming={renames}"))
            // The engine shows samples at once.
            .arg("-search.latencyOffset=0s")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let url = format!("http://{address}");
        let mut receiver = Self::new(&url, "/opentelemetry", folder);
        receiver.victoria_metrics = Some(child);
        eventually("VictoriaMetrics", || Ok(receiver.agent.get(format!("{url}/health")).call().is_ok()))?;
        Ok(receiver)
    }

    fn new(url: &str, otlp: &str, folder: Folder) -> Self {
        let agent = ureq::Agent::config_builder().timeout_global(Some(patience())).http_status_as_error(false).build();
        let (api, otlp) = (format!("{url}/api/v1/query"), format!("{url}{otlp}"));
        Self { prometheus: None, victoria_metrics: None, api, otlp, agent: agent.into(), _folder: folder }
    }

    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let text = self.agent.get(&self.api).query("query", query).call()?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("{query}: {text}"))?;
        Ok(answer["data"]["result"].as_array().with_context(|| format!("{query}: {text}"))?.clone())
    }

    /// The only value of a query; absent where there is none yet.
    pub(super) fn value(&self, query: &str) -> Result<Option<u64>> {
        let result = self.query(query)?;
        ensure!(result.len() <= 1, "{query} has {} values", result.len());
        let value = result.first().and_then(|sample| sample["value"][1].as_str());
        value.map(|value| value.parse().with_context(|| format!("{query}: {value}"))).transpose()
    }

    /// Names of the metrics that a selector finds.
    pub(super) fn names(&self, selector: &str) -> Result<BTreeSet<String>> {
        let result = self.query(&format!("count by (__name__) ({selector})"))?;
        let name = |sample: &Value| sample["metric"]["__name__"].as_str().map(str::to_owned);
        Ok(result.iter().filter_map(name).collect())
    }
}

fn scraping(target: &str) -> String {
    let targets = format!("static_configs: [{{targets: ['{target}']}}]");
    format!("scrape_configs: [{{job_name: scraped, scrape_interval: 1s, {targets}}}]\n")
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.prometheus = None;
        if let Some(child) = &mut self.victoria_metrics {
            // Fails when it has ended already, which is well.
            _ = child.kill();
            _ = child.wait();
        }
    }
}
