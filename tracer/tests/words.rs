//! The words of the repository: no text contains a word or phrase that `refused-words.txt` lists.

mod texts;

const LIST: &str = include_str!("refused-words.txt");

/// A phrase of the list, and the term to use instead.
struct Refused {
    phrase: String,
    /// The beginnings of the paths of the files that must not contain the phrase; none: all files.
    paths: Vec<&'static str>,
    instead: &'static str,
}

#[test]
fn no_text_contains_a_refused_phrase() {
    let list = list();
    let found: Vec<_> = texts::all().iter().flat_map(|(name, text)| search(name, text, &list)).collect();
    assert!(found.is_empty(), "refused phrases:\n{}", found.join("\n"));
}

#[test]
fn planted_phrase_is_found_with_its_line() {
    let list = list();
    let phrase = ["listens", "for", "drops"].join(" ");
    let text = format!("/// The backend.\n/// It {} here.\n", phrase.replace(' ', "\n///   "));
    assert_eq!(search("a.rs", &text, &list), [format!("a.rs:2: \"{phrase}\": use \"captures drops\"")]);
    let test_name = format!("fn backend_{}_here() {{}}", phrase.replace(' ', "_"));
    assert_eq!(search("a.rs", &test_name, &list).len(), 1);
    let upper = ["THE", "SUM", "IS", "OFF"].join(" ");
    assert_eq!(search("a.md", &upper, &list).len(), 1);
    assert_eq!(search("a.md", &upper.to_lowercase(), &list).len(), 0);
}

#[test]
fn planted_word_is_found_whole_and_in_its_files() {
    let (list, word) = (list(), ["kno", "b"].concat());
    for text in
        [format!("A {word}, turned."), format!("fn {word}_of()"), format!("struct My{}", word.replace('k', "K"))]
    {
        assert_eq!(search("a.rs", &text, &list).len(), 1, "{text}");
    }
    assert_eq!(search("a.rs", &format!("door{word}"), &list).len(), 0);
    assert_eq!(search("tracer/src/metrics/a.rs", "all figures", &list).len(), 1);
    assert_eq!(search("README.md", "all figures", &list).len(), 0);
}

#[test]
fn table_of_renamed_terms_may_contain_old_ones() {
    let row = format!("| `{}` | `received_ns` |\n", ["settled", "ns"].join("_"));
    assert_eq!(search("CHANGELOG.md", &row, &list()).len(), 0);
    assert_eq!(search("README.md", &row, &list()).len(), 1);
}

#[test]
fn every_line_of_the_list_has_a_phrase_and_its_replacement() {
    let list = list();
    assert!(list.iter().all(|it| it.phrase.len() >= 3 && !it.instead.is_empty()));
    assert!(list.is_sorted_by_key(|it| it.phrase.to_lowercase()), "the list is sorted");
}

fn list() -> Vec<Refused> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    let refused = |line: &'static str| {
        let (phrase, instead) = line.split_once(" = ").unwrap_or_else(|| panic!("no replacement: {line}"));
        let (phrase, paths) = phrase.split_once(" in ").unwrap_or((phrase, ""));
        Refused { phrase: phrase.replace('_', " "), paths: paths.split_whitespace().collect(), instead }
    };
    lines.map(refused).collect()
}

/// Returns a message for each refused phrase. A phrase is also found across the lines of a comment or of a paragraph, and
/// as a part of a name in code.
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
            push_parted(&mut words, word);
        }
    }
    let lower = words.to_ascii_lowercase();
    let mut found = Vec::new();
    for Refused { phrase, paths, instead } in list {
        if !paths.is_empty() && !paths.iter().any(|path| name.starts_with(path)) {
            continue;
        }
        let is_exact = phrase.bytes().any(|byte| byte.is_ascii_uppercase());
        let text = if is_exact { &words } else { &lower };
        for (at, _) in text.match_indices(phrase.as_str()).filter(|(at, _)| is_whole(text, *at, phrase)) {
            let line =
                starts.partition_point(|&(start, _)| start <= at).checked_sub(1).map_or(0, |last| starts[last].1);
            found.push(format!("{name}:{line}: \"{phrase}\": use \"{instead}\""));
        }
    }
    found
}

/// Appends a word with a space behind it, and one before each capital that follows a small letter or a digit.
fn push_parted(words: &mut String, word: &str) {
    let mut before = ' ';
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            words.push(' ');
        }
        words.push(letter);
        before = letter;
    }
    words.push(' ');
}

/// Whether the phrase at this position is not a part of longer words.
fn is_whole(text: &str, at: usize, phrase: &str) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    !is_letter(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_letter(bytes.get(at + phrase.len()))
}
