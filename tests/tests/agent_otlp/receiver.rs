//! A Prometheus that takes pushes and scrapes.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::eventually;
use tests::prometheus;
use tests::trials::Unable;

/// Only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// An address that nobody listens on.
pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// What a URL shows.
pub fn get(url: &str) -> Result<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
    Ok(agent.get(url).call()?.body_mut().read_to_string()?)
}

/// Prometheus; it ends, and its folder goes, with its handle.
pub struct Receiver {
    child: Child,
    folder: PathBuf,
    address: String,
}

impl Receiver {
    /// Starts one that scrapes `target` under the job `scraped`.
    pub fn start(target: &str) -> Result<Self> {
        let program = prometheus::program("prometheus")?;
        let help = Command::new(&program).arg("--help").output()?;
        // A flag since 3.0, before that a feature.
        let is_flag =
            String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).contains("--web.enable-otlp-receiver");
        let receiver = if is_flag { "--web.enable-otlp-receiver" } else { "--enable-feature=otlp-write-receiver" };
        let folder = env::temp_dir().join(format!("droptrace-otlp-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let config = folder.join("prometheus.yml");
        let job = "{job_name: scraped, scrape_interval: 1s, static_configs: [{targets: ['";
        fs::write(&config, format!("scrape_configs: [{job}{target}']}}]}}]\n"))?;
        let address = free_address()?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args([receiver, "--log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?)
            .spawn()?;
        let receiver = Self { child, folder, address };
        eventually("Prometheus", || Ok(get(&format!("http://{}/-/ready", receiver.address)).is_ok()))?;
        let answer = ureq::post(&format!("{}/v1/metrics", receiver.otlp())).send(&[][..]);
        let missing = matches!(answer, Err(ureq::Error::StatusCode(404)));
        ensure!(!missing, Unable("this Prometheus takes no OTLP".to_owned()));
        Ok(receiver)
    }

    /// Where to push to.
    pub fn otlp(&self) -> String {
        format!("http://{}/api/v1/otlp", self.address)
    }

    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let url = format!("http://{}/api/v1/query", self.address);
        let text = ureq::get(url).query("query", query).call()?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text)?;
        Ok(answer["data"]["result"].as_array().with_context(|| format!("no result in {text}"))?.clone())
    }

    /// The only value of a query; none where there is none yet.
    pub fn value(&self, query: &str) -> Result<Option<String>> {
        let result = self.query(query)?;
        ensure!(result.len() <= 1, "{query} has {} values", result.len());
        Ok(result.first().and_then(|sample| sample["value"][1].as_str()).map(str::to_owned))
    }

    /// Names of the metrics that a selector finds.
    pub fn names(&self, selector: &str) -> Result<BTreeSet<String>> {
        let result = self.query(&format!("count by (__name__) ({selector})"))?;
        let name = |sample: &Value| sample["metric"]["__name__"].as_str().map(str::to_owned);
        Ok(result.iter().filter_map(name).collect())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Fails when it has ended already, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
