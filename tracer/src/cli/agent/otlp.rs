//! The pushes of an agent.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;

use crate::backend::ebpf::EventOptions;
use crate::cli::args::OtlpOptions;
use crate::domain::event::{DropEvent, Timestamp};
use crate::files;
use crate::metrics::model::{Family, Metrics};
use crate::metrics::otlp::{Counts, Endpoint, Push, parse_headers};
pub(super) use crate::metrics::otlp::{Identity, Options};
use crate::run::host;

/// The largest file of headers, in bytes.
const MAX_HEADERS: u64 = 64 << 10;
/// Captured leading bytes of packets: they include addresses and ports.
const SNAPLEN: u32 = 96;
/// Size of the ring buffer for records, in bytes.
const RING_SIZE: u32 = 1 << 20;
/// Time limit of the last push at the end.
const PATIENCE: Duration = Duration::from_secs(3);

/// The identity of this agent in pushes: the host's name unless another one is set.
pub(super) fn identity(started_at: Timestamp) -> Identity {
    let host = host().name;
    Identity { instance: host.clone(), host, started_at }
}

/// The limits of the kernel program's records, if drops are to be pushed.
pub(super) fn events(args: &OtlpOptions) -> Option<EventOptions> {
    let rate = args.otlp_logs_rate.map_or(1, NonZeroU32::get);
    args.otlp_logs.as_ref().map(|_| EventOptions {
        snaplen: SNAPLEN,
        rate,
        ring_size: RING_SIZE,
        stacks: false,
        one_in: 1,
    })
}

/// Returns what to push, and the endpoints; `None` without an endpoint. Reads the files of headers.
pub(super) fn options(args: &OtlpOptions, identity: &Identity) -> Result<Option<Options>> {
    let metrics = endpoint("--otlp", args.otlp.as_deref(), args.otlp_headers_file.as_deref())?;
    let logs = endpoint("--otlp-logs", args.otlp_logs.as_deref(), args.otlp_logs_headers_file.as_deref())?;
    if metrics.is_none() && logs.is_none() {
        return Ok(None);
    }
    let mut identity = identity.clone();
    if let Some(name) = &args.otlp_instance {
        identity.instance.clone_from(name);
    }
    Ok(Some(Options {
        identity,
        metrics,
        logs,
        interval: args.otlp_interval.unwrap_or(Duration::from_secs(15)),
        timeout: args.otlp_timeout.unwrap_or(Duration::from_secs(10)),
    }))
}

fn endpoint(flag: &str, url: Option<&str>, headers: Option<&Path>) -> Result<Option<Endpoint>> {
    let Some(url) = url else {
        if headers.is_some() {
            bail!("{flag}-headers-file without {flag}");
        }
        return Ok(None);
    };
    let headers = match headers {
        Some(path) => {
            let of_file = || format!("{flag}-headers-file {}", path.display());
            parse_headers(&files::read_text(path, MAX_HEADERS).with_context(of_file)?).with_context(of_file)?
        }
        None => vec![],
    };
    Ok(Some(Endpoint::new(url, headers).context(flag.to_owned())?))
}

/// The running pushes, and their counts.
pub(super) struct Pushing {
    metrics: watch::Receiver<Arc<Metrics>>,
    counts: Arc<Counts>,
    running: Option<(Options, Push)>,
    /// Whether pushes were ever configured: their counts are then shown from then on.
    has_pushed: bool,
}

impl Pushing {
    /// The latest metrics; empty before the first reading.
    pub(super) fn new(metrics: watch::Receiver<Arc<Metrics>>) -> Self {
        Self { metrics, counts: Arc::default(), running: None, has_pushed: false }
    }

    /// Pushes with these options from now on. Data that is queued for other endpoints is still pushed there, once.
    pub(super) fn follow(&mut self, options: Option<Options>) -> Result<()> {
        if self.running.as_ref().map(|(options, _)| options) == options.as_ref() {
            return Ok(());
        }
        let start = |options: Options| {
            let metrics = self.metrics.clone();
            let latest = move || Arc::clone(&metrics.borrow());
            let push =
                Push::start(options.clone(), Arc::clone(&self.counts), latest).context("cannot start to push")?;
            Ok::<_, anyhow::Error>((options, push))
        };
        self.running = options.map(start).transpose()?;
        self.has_pushed |= self.running.is_some();
        Ok(())
    }

    /// Queues an event for the push.
    pub(super) fn offer(&self, event: &DropEvent<'_>) {
        if let Some((_, push)) = &self.running {
            push.offer(event);
        }
    }

    /// The counts of pushes; empty if none were ever configured.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> + use<> {
        self.has_pushed.then(|| self.counts.families()).into_iter().flatten()
    }

    /// Pushes the remaining data.
    pub(super) fn stop(self) {
        if let Some((_, push)) = self.running {
            push.stop(PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs;

    use super::*;

    const URL: &str = "http://lab:4318";

    fn someone() -> Identity {
        Identity { host: "lab-1".into(), instance: "lab-1".into(), started_at: Timestamp(7) }
    }

    fn refused(args: &OtlpOptions) -> String {
        format!("{:#}", options(args, &someone()).unwrap_err())
    }

    #[test]
    fn nothing_is_pushed_without_an_endpoint() {
        let args = OtlpOptions { otlp_interval: Some(Duration::from_secs(1)), ..OtlpOptions::default() };
        assert_eq!(options(&args, &someone()).unwrap(), None);
        assert!(events(&args).is_none());
    }

    #[test]
    fn metrics_and_drops_have_separate_endpoints() {
        let metrics =
            OtlpOptions { otlp: Some(URL.into()), otlp_instance: Some("me".into()), ..OtlpOptions::default() };
        let options_of = |args: &OtlpOptions| options(args, &someone()).unwrap().unwrap();
        let pushed = options_of(&metrics);
        assert!(pushed.metrics.is_some() && pushed.logs.is_none() && events(&metrics).is_none());
        assert_eq!((&*pushed.identity.instance, &*pushed.identity.host), ("me", "lab-1"));
        let drops = OtlpOptions { otlp_logs: Some(URL.into()), ..OtlpOptions::default() };
        let pushed = options_of(&drops);
        assert!(pushed.metrics.is_none() && pushed.logs.is_some());
        assert_eq!(events(&drops).map(|events| events.rate), Some(1));
    }

    #[test]
    fn header_files_are_read_within_a_limit() {
        let path = env::temp_dir().join(format!("droptrace-headers-{}", std::process::id()));
        let args =
            OtlpOptions { otlp: Some(URL.into()), otlp_headers_file: Some(path.clone()), ..OtlpOptions::default() };
        assert!(refused(&args).contains("No such file"));
        fs::write(&path, "Authorization: Bearer x\n").unwrap();
        let with = options(&args, &someone()).unwrap().unwrap();
        let without = OtlpOptions { otlp_headers_file: None, ..args.clone() };
        assert_ne!(Some(with), options(&without, &someone()).unwrap());
        fs::write(&path, "Authorization\n").unwrap();
        assert!(refused(&args).ends_with("line 1 is not of the form `Name: value`"));
        fs::write(&path, vec![b'#'; 70_000]).unwrap();
        assert!(refused(&args).contains("it is longer than 65536 bytes"));
        fs::remove_file(&path).unwrap();
        let alone = OtlpOptions { otlp: None, ..args };
        assert_eq!(refused(&alone), "--otlp-headers-file without --otlp");
    }
}
