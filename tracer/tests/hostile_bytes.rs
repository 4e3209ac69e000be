//! Examples of what droptrace reads, changed at random and read: nothing panics, and what is read holds together.
//!
//! Each reader is given a fixed number of changed examples, the same in each run. `DROPTRACE_FUZZ_SECONDS=3600 cargo test
//! --release -p tracer --test hostile_bytes` goes on for an hour each, from another seed. A failure names the file that
//! holds the bytes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, panic, process};

use droptrace_base::hostile::Check;
use rand::{RngExt as _, SeedableRng as _};
use rand_xorshift::XorShiftRng;

/// Changed examples for each reader.
const ROUNDS: u64 = 20_000;
/// Longer ones are cut: they only take time.
const LONGEST: usize = 64 << 10;
/// Changes to one example.
const CHANGES: std::ops::RangeInclusive<usize> = 1..=6;

/// What readers stumble over.
const WORDS: [&str; 32] = [
    "0",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "1e999",
    "-0.0",
    "NaN",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"\\u202e\"",
    "\u{202e}",
    "\u{9b}",
    ",",
    ":",
    "\n",
    "\\",
    "\"",
    ": &a *a",
    "<<: *a",
    "- ",
    "|\n",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "\u{28}\u{b5}\u{2f}\u{fd}",
];

/// The readers of all members.
fn readers() -> impl Iterator<Item = (&'static str, Check)> {
    tracer::hostile::ALL.iter().copied().chain(droptrace_fleet::hostile::ALL)
}

fn examples(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Changes examples.
struct Changer {
    random: XorShiftRng,
    examples: Vec<Vec<u8>>,
}

impl Changer {
    fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.example();
        for _ in 0..self.random.random_range(CHANGES) {
            self.change(&mut bytes);
            bytes.truncate(LONGEST);
        }
        bytes
    }

    fn example(&mut self) -> Vec<u8> {
        let number = self.random.random_range(0..self.examples.len());
        self.examples[number].clone()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let (from, to) = self.range(bytes.len());
        match self.random.random_range(0..9) {
            0 if from < bytes.len() => bytes[from] ^= 1 << self.random.random_range(0..8),
            1 if from < bytes.len() => bytes[from] = self.random.random(),
            2 => bytes.truncate(from),
            3 => drop(bytes.drain(from..to)),
            4 => bytes.extend_from_within(from..to),
            5 => {
                let other = self.example();
                let (start, end) = self.range(other.len());
                drop(bytes.splice(from..to, other[start..end].iter().copied()));
            }
            6 => drop(bytes.splice(from..from, self.word())),
            7 => self.replace_value(bytes, from),
            _ => {
                let part = bytes[from..to].repeat(self.random.random_range(2..20));
                drop(bytes.splice(from..to, part));
            }
        }
    }

    /// A part of so many bytes: mostly a short one.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.random.random_range(0..=length);
        let most = if self.random.random_range(0..4) == 0 { length - from } else { (length - from).min(16) };
        (from, from + self.random.random_range(0..=most))
    }

    fn word(&mut self) -> Vec<u8> {
        WORDS[self.random.random_range(0..WORDS.len())].as_bytes().to_vec()
    }

    /// Puts another value where the next one of JSON or YAML stands.
    fn replace_value(&mut self, bytes: &mut Vec<u8>, from: usize) {
        let Some(colon) = bytes[from..].iter().position(|byte| *byte == b':').map(|at| from + at + 1) else { return };
        let length = bytes[colon..].iter().position(|byte| b",}\n]".contains(byte)).unwrap_or(bytes.len() - colon);
        drop(bytes.splice(colon..colon + length, self.word()));
    }
}

/// For how long, where that was said.
fn time() -> Option<Duration> {
    env::var("DROPTRACE_FUZZ_SECONDS").ok().map(|text| Duration::from_secs(text.parse().expect("a number of seconds")))
}

fn read_changed(name: &str) {
    let (_, check) = readers().find(|(other, _)| *other == name).unwrap();
    let examples = examples(name);
    assert!(!examples.is_empty(), "no examples of {name}");
    for example in &examples {
        read_one(name, check, example);
    }
    let (time, started) = (time(), Instant::now());
    let seed = if time.is_some() { u64::from(process::id()) } else { 1 };
    let mut changer = Changer { random: XorShiftRng::seed_from_u64(seed), examples };
    let mut rounds = 0_u64;
    while time.map_or(rounds < ROUNDS, |time| started.elapsed() < time) {
        read_one(name, check, &changer.next());
        rounds += 1;
    }
    println!("{name}: {rounds} changed examples from seed {seed}, none that fails");
}

fn read_one(name: &str, check: Check, bytes: &[u8]) {
    if panic::catch_unwind(|| check(bytes)).is_err() {
        let file = env::temp_dir().join(format!("droptrace-fails-{name}-{}", process::id()));
        fs::write(&file, bytes).unwrap();
        panic!("{name}: reading {} fails", file.display());
    }
}

#[test]
fn changed_snapshots() {
    read_changed("snapshot");
}

#[test]
fn changed_recordings() {
    read_changed("recording");
}

#[test]
fn changed_blocks() {
    read_changed("blocks");
}

#[test]
fn changed_histories() {
    read_changed("history");
}

#[test]
fn changed_web_configs() {
    read_changed("web_config");
}

#[test]
fn changed_answers() {
    read_changed("answer");
}

#[test]
fn all_readers_are_tested() {
    assert!(readers().map(|(name, _)| name).eq([
        "recording",
        "blocks",
        "history",
        "filter",
        "web_config",
        "snapshot",
        "answer"
    ]));
}
