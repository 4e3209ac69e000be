//! The links of the documents: each leads to a file of the repository, and its anchor to a heading there. Texts of the
//! program and comments name documents by their path from the top folder, which exists as well.

mod texts;

use std::path::Path;

use texts::WORKSPACE;

#[test]
fn each_link_of_a_document_leads_to_a_file_and_a_heading() {
    let texts = texts::all();
    let documents: Vec<_> = texts.iter().filter(|(name, _)| is_markdown(name)).collect();
    let broken: Vec<_> = documents.iter().flat_map(|(name, text)| broken_links(name, text)).collect();
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    let links: usize = documents.iter().map(|(_, text)| links(text).len()).sum();
    assert!(links > 200, "only {links} links in {} documents were found", documents.len());
}

#[test]
fn each_document_that_a_text_names_exists() {
    let texts = texts::all();
    let named: Vec<_> =
        texts.iter().flat_map(|(name, text)| documents_in(text).map(move |document| (name, document))).collect();
    assert!(named.len() > 50, "only {} documents are named", named.len());
    let missing: Vec<_> = named.iter().filter(|(_, document)| !Path::new(WORKSPACE).join(document).is_file()).collect();
    assert!(missing.is_empty(), "documents that do not exist, by the files that name them: {missing:#?}");
}

#[test]
fn planted_link_is_found() {
    let to = |target: &str| broken_links("docs/guide/fleet.md", &format!("[`a` (b)]({target})\n"));
    let none: [String; 0] = [];
    for whole in ["../../README.md", "../reference/output.md#droptracestatv1", "https://example.org/", "../reference"] {
        assert_eq!(to(whole), none);
    }
    for broken in ["README.md", "../reference/output.md#none", "#none", "../top.svg#none"] {
        assert_eq!(to(broken), [format!("docs/guide/fleet.md: {broken}")]);
    }
    assert_eq!(broken_links("README.md", "`[a](none)`, and\n```\n[a](none)\n```\n"), none);
    assert_eq!(anchors("# A `b.c` (d)\n## [E-f](g.md) h_i\n# A b.c d\n"), ["a-bc-d", "e-f-h_i", "a-bc-d-1"]);
    let text = "(D/a/b.md), x/D/c.md `D/d.md#e`".replace('D', "docs");
    assert_eq!(documents_in(&text).map(|document| &document[4..]).collect::<Vec<_>>(), ["/a/b.md", "/d.md"]);
}

fn is_markdown(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "md")
}

/// Returns the links of a document that lead nowhere, each behind the document's name.
fn broken_links(name: &str, text: &str) -> Vec<String> {
    let is_broken = |link: &&str| {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = Path::new(WORKSPACE).join(name).with_file_name("").join(path);
        let target = if path.is_empty() { Some(text.to_owned()) } else { std::fs::read_to_string(&file).ok() };
        let has_anchor = |target: String| anchors(&target).iter().any(|found| found == anchor);
        !link.contains(':') && !(if anchor.is_empty() { file.exists() } else { target.is_some_and(has_anchor) })
    };
    links(text).into_iter().filter(is_broken).map(|link| format!("{name}: {link}")).collect()
}

/// The targets of all links outside code.
fn links(text: &str) -> Vec<&str> {
    let paragraphs = outside_fences(text).collect::<Vec<_>>();
    let prose = paragraphs.split(|line| line.is_empty()).flat_map(|lines| {
        let mut in_code = false;
        let mut pieces = Vec::new();
        for line in lines {
            for (index, piece) in line.split('`').enumerate() {
                in_code ^= index > 0;
                pieces.extend((!in_code).then_some(piece));
            }
        }
        pieces
    });
    prose.flat_map(|piece| piece.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next()).collect()
}

/// The anchors of all headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut plain: Vec<String> = Vec::new();
    let mut anchors = Vec::new();
    for line in outside_fences(text).filter(|line| line.starts_with('#')) {
        let mut heading = line.trim_start_matches('#').trim().to_lowercase();
        while let Some((before, rest)) = heading.split_once("](") {
            heading = format!("{before}{}", rest.split_once(')').map_or("", |(_, after)| after));
        }
        let kept = heading.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let number = plain.iter().filter(|earlier| **earlier == anchor).count();
        anchors.push(if number == 0 { anchor.clone() } else { format!("{anchor}-{number}") });
        plain.push(anchor);
    }
    anchors
}

/// The lines outside blocks of code.
fn outside_fences(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().map(str::trim).filter(move |line| {
        let is_fence = line.starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The paths `docs/….md` in a text, without those within longer paths.
fn documents_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("docs/").filter_map(|(at, _)| {
        let is_start = !text[..at].ends_with(|c: char| c.is_alphanumeric() || "/_-.".contains(c));
        let rest = &text[at..];
        let path =
            &rest[..rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/_-.".contains(c))).unwrap_or(rest.len())];
        (is_start && is_markdown(path)).then_some(path)
    })
}
