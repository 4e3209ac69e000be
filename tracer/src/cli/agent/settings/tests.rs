use std::fs;

use super::*;
use crate::backend::history::DEFAULT_FOLDER;
use crate::cli::args::{Cli, Command};

fn typed(line: &str) -> AgentArgs {
    match Cli::try_parse_from(line.split(' ')).map(Cli::into_command) {
        Ok(Command::Agent(args)) => args,
        other => panic!("{line}: {other:?}"),
    }
}

fn settings(line: &str) -> Settings {
    Settings::of(&typed(line)).unwrap()
}

/// A file in a folder of its own, which is removed with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("droptrace-agent-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("agent.toml"), text).unwrap();
        Self(folder)
    }

    fn line(&self, more: &str) -> String {
        format!("droptrace agent --config {}{more}", self.0.join("agent.toml").display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn defaults() {
    let usual = settings("droptrace agent");
    assert_eq!((usual.listen, usual.series.limit), ((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into(), 500));
    assert_eq!(usual.series.expire_after, Duration::from_hours(1));
    assert_eq!((usual.interval, usual.source, usual.map_entries), (Duration::from_secs(10), Source::Auto, 8192));
}

#[test]
fn history_of_a_file_is_beside_it_and_has_limits() {
    let file = File::new("history", "history = \"past\"\nhistory-size = \"1G\"\nnetns = \"blue\"\nfilter = \"udp\"\n");
    let read = settings(&file.line(" --history-age 2h"));
    assert_eq!(read.history.history, Some(file.0.join("past")));
    assert_eq!((read.history.limits().bytes, read.history.limits().age), (1 << 30, Duration::from_hours(2)));
    assert_eq!(read.selection(), "--netns blue --filter 'udp'");
    let usual = settings("droptrace agent");
    assert_eq!((usual.history.limits().bytes, usual.history.limits().age), (256 << 20, Duration::from_hours(24)));
    assert_eq!((usual.history.history, settings("droptrace agent").selection()), (None, String::new()));
    let packaged = include_str!("../../../../../packaging/systemd/agent.toml");
    assert!(packaged.contains(&format!("\nhistory = \"{DEFAULT_FOLDER}\"\n")), "{packaged}");
}

/// The help of the agent, as `--help` prints it.
fn help() -> String {
    Cli::try_parse_from(["droptrace", "agent", "--help"]).unwrap_err().to_string()
}

#[test]
fn the_default_port_is_the_same_everywhere() {
    let wrong = crate::render::units::address("here").unwrap_err();
    let packaged = include_str!("../../../../../packaging/systemd/agent.toml");
    let docs =
        [include_str!("../../../../../docs/reference/agent.md"), include_str!("../../../../../docs/guide/fleet.md")];
    for text in [&*help(), &*wrong, packaged, docs[0], docs[1]] {
        assert!(text.contains(&format!(":{DEFAULT_PORT}")), "{text}");
    }
    for (text, listens) in [(&*help(), "127.0.0.1:"), (packaged, "#listen = \"127.0.0.1:")] {
        assert!(text.contains(&format!("{listens}{DEFAULT_PORT}")), "{text}");
    }
}

#[test]
fn command_line_overrides_the_file() {
    let text = "listen = \"[::1]:1\"\ninterval = \"1m\"\nmax-series = 7\nsource = \"net-dm\"\nlisten-insecure = true\n\
                offset-label = true\nowners = \"pod,unit\"\n";
    let file = File::new("counts", text);
    let read = settings(&file.line(" --interval 5s --source ebpf"));
    assert_eq!((read.listen.to_string().as_str(), read.series.limit), ("[::1]:1", 7));
    assert_eq!((read.interval, read.source, read.listen_insecure), (Duration::from_secs(5), Source::Ebpf, true));
    let has = |settings: &Settings, label| settings.series_settings().label_set.names().any(|name| name == label);
    for label in ["offset", "namespace", "unit", "owner"] {
        assert!(has(&read, label) && !has(&settings("droptrace agent"), label), "{label}");
    }
    assert!(read.has_owners() && !has(&settings(&file.line(" --owners pod")), "unit"));
}

#[test]
fn endpoint_changes_at_reload_but_event_capture_does_not() {
    let file =
        File::new("pushes", "otlp = \"http://lab:4318\"\notlp-headers-file = \"headers\"\notlp-interval = \"30s\"\n");
    let before = settings(&file.line(""));
    assert_eq!(before.otlp.otlp_headers_file, Some(file.0.join("headers")));
    assert_eq!(before.otlp.otlp_interval, Some(Duration::from_secs(30)));
    let text = "otlp = \"http://other:4318\"\notlp-logs = \"http://other:4318\"\notlp-logs-rate = 9\n";
    let new = settings(&File::new("pushed", text).line(""));
    assert_eq!(new.fixed(&before), ["otlp-logs", "otlp-logs-rate"]);
    let now = before.reloaded(new.clone());
    assert_eq!(now.otlp.otlp.as_deref(), Some("http://other:4318"));
    assert_eq!((now.otlp.otlp_logs, now.otlp.otlp_logs_rate, now.otlp.otlp_headers_file), (None, None, None));
    let with_logs = settings("droptrace agent --otlp-logs http://lab:4318");
    assert_eq!(with_logs.reloaded(new).otlp.otlp_logs.as_deref(), Some("http://other:4318"));
}

#[test]
fn filter_is_read_from_the_file_and_changes_only_at_the_start() {
    let file = File::new("filter", "filter = \"udp port 53 and unusual\"\n");
    let before = settings(&file.line(""));
    let text = |settings: &Settings| settings.common().filter.map(|filter| filter.text);
    assert_eq!(text(&before).as_deref(), Some("udp port 53 and unusual"));
    assert_eq!(text(&settings(&file.line(" --filter tcp"))).as_deref(), Some("tcp"));
    let new = settings("droptrace agent");
    assert_eq!(new.fixed(&before), ["filter"]);
    assert_eq!(text(&before.reloaded(new)).as_deref(), Some("udp port 53 and unusual"));
}

#[test]
fn paths_are_relative_to_the_file() {
    let file = File::new("beside", "web-config = \"web.yml\"");
    assert_eq!(settings(&file.line("")).web_config, Some(file.0.join("web.yml")));
    let elsewhere = settings(&file.line(" --web-config other.yml"));
    assert_eq!(elsewhere.web_config, Some("other.yml".into()));
}

#[test]
fn errors_in_the_file_are_those_of_the_command_line() {
    for (text, words) in [
        ("max-serie = 5", "unknown key `max-serie`; similar: `max-series`"),
        ("colour = 5", "unknown key `colour`; the keys are listen, listen-insecure, web-config, interval"),
        ("config = \"x\"", "unknown key `config`"),
        ("interval = \"soon\"", "such as 10s, 1m30s or 500ms"),
        ("interval = [1]", "`interval` takes a string or a number"),
        ("listen-insecure = \"yes\"", "`listen-insecure` is true or false"),
        ("max-series = 0", "from 1 to 10000"),
        ("max-series = 99999999999999", "99999999999999"),
        ("source = \"both\"", "an agent counts each drop once"),
        ("listen = \"localhost\"", "--listen"),
        ("listen =", "agent.toml"),
        ("filter = \"prot 53\"", "unknown word `prot`"),
        ("netns = \"--help\"\nmax-series = -1", "-1"),
    ] {
        let file = File::new("wrong", text);
        let error = format!("{:#}", Settings::of(&typed(&file.line(""))).unwrap_err());
        assert!(error.contains(words) && error.contains("agent.toml"), "{text}: {error}");
    }
}

#[test]
fn other_hosts_get_clear_text_only_if_allowed() {
    for (line, is_taken) in [
        ("droptrace agent --listen 127.0.0.9:1", true),
        ("droptrace agent --listen [::1]:1", true),
        ("droptrace agent --listen 0.0.0.0:1", false),
        ("droptrace agent --listen [::]:1", false),
        ("droptrace agent --listen 192.0.2.1:1 --listen-insecure", true),
    ] {
        assert_eq!(settings(line).web().is_ok(), is_taken, "{line}");
    }
    let text = format!("{:#}", settings("droptrace agent --listen 0.0.0.0:1").web().err().unwrap());
    assert!(text.contains("--web-config") && text.contains("--listen-insecure"), "{text}");
}

#[test]
fn settings_that_need_a_restart_are_listed() {
    let before = settings("droptrace agent");
    let after = settings(
        "droptrace agent --interval 1s --max-series 5 --expire-after 1d --offset-label --no-counters --map-entries 9 --listen 127.0.0.1:1 --history /x --history-size 1G --history-age 2d",
    );
    assert_eq!(
        after.fixed(&before),
        [
            "listen",
            "max-series",
            "expire-after",
            "offset-label",
            "no-counters",
            "map-entries",
            "history",
            "history-size",
            "history-age"
        ]
    );
    assert!(before.fixed(&before).is_empty());
}
