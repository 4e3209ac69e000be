//! The words of the repository: no text contains a phrase that `refused-words.txt` lists.

use std::path::{Path, PathBuf};
use std::{env, fs};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const LIST: &str = include_str!("refused-words.txt");

/// Folders without text of this repository: builds, git, and examples of the readers' input.
const SKIPPED_FOLDERS: [&str; 6] = ["target", ".git", "fixtures", "recordings", "corpus", "artifacts"];

/// Lists of the old words, and the packages of others.
const SKIPPED_FILES: [&str; 2] = ["refused-words.txt", "Cargo.lock"];

/// The largest file that is read, in bytes. Larger ones contain data.
const LARGEST: u64 = 256 << 10;

/// A phrase of the list, and the term to use instead.
struct Refused {
    phrase: String,
    instead: &'static str,
}

#[test]
fn no_text_contains_a_refused_phrase() {
    let mut files = Vec::new();
    collect(Path::new(WORKSPACE), &mut files);
    assert!(files.len() > 300, "only {} files were found", files.len());
    let list = list();
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let name = file.strip_prefix(WORKSPACE).unwrap().display().to_string();
        found.extend(search(&name, &text, &list));
    }
    assert!(found.is_empty(), "refused phrases:\n{}", found.join("\n"));
}

#[test]
fn planted_phrase_is_found_with_its_line() {
    let list = list();
    let phrase = ["told", "by"].join(" ");
    let text = format!("/// The drop.\n/// It is {} the kernel.\n", phrase.replace(' ', "\n///   "));
    assert_eq!(search("a.rs", &text, &list), [format!("a.rs:2: \"{phrase}\": use \"reported by\"")]);
    let test_name = format!("fn drops_are_{}_the_kernel() {{}}", ["told", "by"].join("_"));
    assert_eq!(search("a.rs", &test_name, &list).len(), 1);
    let upper = ["THE", "SUM", "IS", "OFF"].join(" ");
    assert_eq!(search("a.md", &upper, &list).len(), 1);
    assert_eq!(search("a.md", &upper.to_lowercase(), &list).len(), 0);
}

#[test]
fn table_of_renamed_terms_may_contain_old_ones() {
    let row = format!("| `{}` | `received_ns` |\n", ["heard", "ns"].join("_"));
    assert_eq!(search("CHANGELOG.md", &row, &list()).len(), 0);
    assert_eq!(search("README.md", &row, &list()).len(), 1);
}

#[test]
fn every_line_of_the_list_has_a_phrase_and_its_replacement() {
    let list = list();
    assert!(list.iter().all(|it| it.phrase.len() > 3 && !it.instead.is_empty()));
    assert!(list.is_sorted_by_key(|it| it.phrase.to_lowercase()), "the list is sorted");
}

fn list() -> Vec<Refused> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    let refused = |line: &'static str| {
        let (phrase, instead) = line.split_once(" = ").unwrap_or_else(|| panic!("no replacement: {line}"));
        Refused { phrase: phrase.replace('_', " "), instead }
    };
    lines.map(refused).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (name, metadata) = (entry.file_name(), entry.metadata().unwrap());
        let skips = |names: &[&str]| names.iter().any(|skipped| name == *skipped);
        if metadata.is_dir() && !skips(&SKIPPED_FOLDERS) {
            collect(&entry.path(), files);
        } else if metadata.is_file() && metadata.len() <= LARGEST && !skips(&SKIPPED_FILES) {
            files.push(entry.path());
        }
    }
}

/// Returns a message for each refused phrase. A phrase is also found across the lines of a comment or of a paragraph.
fn search(name: &str, text: &str, list: &[Refused]) -> Vec<String> {
    let mut words = String::with_capacity(text.len());
    // The position of each line's first word, and the number of the line.
    let mut starts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if name == "CHANGELOG.md" && line.starts_with('|') {
            continue;
        }
        let content = ["///", "//!", "//", "#"].iter().find_map(|marker| line.strip_prefix(marker)).unwrap_or(line);
        starts.push((words.len(), index + 1));
        for word in content.trim_end_matches('\\').split([' ', '_']).filter(|word| !word.is_empty()) {
            words.push_str(word);
            words.push(' ');
        }
    }
    let lower = words.to_ascii_lowercase();
    let mut found = Vec::new();
    for Refused { phrase, instead } in list {
        let is_exact = phrase.bytes().any(|byte| byte.is_ascii_uppercase());
        for (at, _) in if is_exact { &words } else { &lower }.match_indices(phrase.as_str()) {
            let line =
                starts.partition_point(|&(start, _)| start <= at).checked_sub(1).map_or(0, |last| starts[last].1);
            found.push(format!("{name}:{line}: \"{phrase}\": use \"{instead}\""));
        }
    }
    found
}
