//! The paths in a source text, and the modules that they name.

use std::collections::BTreeMap;

/// A module's path, such as `["tracer", "backend", "ebpf", "ring"]`.
pub(crate) type Module = Vec<String>;

/// The modules, and the names that each one imports or re-exports, with the path of each name.
pub(crate) type Imports = BTreeMap<Module, BTreeMap<String, Vec<String>>>;

/// Imports of imports that are followed: more than there are, so that a circle of them ends.
const MOST_IMPORTS: u32 = 16;

/// The imports and re-exports of each module. Those within a function are not other modules' business.
pub(crate) fn imports(sources: &BTreeMap<Module, String>) -> Imports {
    let import = |line: &str| line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ");
    let of = |text: &String| {
        let mut found = Vec::new();
        for (at, line) in lines(text).filter(|(_, line)| import(line)) {
            let start = at + line.find("use ").unwrap() + "use ".len();
            open(&text[start..], &mut Vec::new(), &mut found);
        }
        found.into_iter().map(|Named { path, name }| (name, path)).collect()
    };
    sources.iter().map(|(module, text)| (module.clone(), of(text))).collect()
}

/// The lines of a text, each with its offset.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |next, line| {
        let at = *next;
        *next += line.len();
        Some((at, line))
    })
}

/// All paths in a text that start at a member's root or at the module above, those of `use` with their braces opened.
pub(crate) fn paths(text: &str) -> Vec<Vec<String>> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for start in ["crate::", "super::", "droptrace_base::"] {
        for (at, _) in code.match_indices(start) {
            let is_start = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_start {
                open(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    found.into_iter().map(|named| named.path).collect()
}

/// A path, and the name that an import gives to it.
struct Named {
    path: Vec<String>,
    name: String,
}

/// Reads one path, or the paths of a group, and returns what follows.
fn open<'t>(text: &'t str, before: &mut Vec<String>, found: &mut Vec<Named>) -> &'t str {
    let depth = before.len();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            rest = group;
            while !rest.trim_start().starts_with('}') {
                rest = open(rest, before, found).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest);
                if rest.is_empty() {
                    break;
                }
            }
            rest = rest.trim_start().strip_prefix('}').unwrap_or(rest);
            break;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        before.push(rest[..end].to_owned());
        rest = &rest[end..];
        let Some(more) = rest.strip_prefix("::").filter(|more| !more.starts_with('<')) else {
            found.push(named(before, rest));
            // A renamed import, or something that is no path.
            rest = rest.find([',', '}', ';']).map_or("", |at| &rest[at..]);
            break;
        };
        rest = more;
    }
    before.truncate(depth);
    rest
}

/// A path with its name: the last word but `self`, or the word behind `as`, with which `rest` begins.
fn named(path: &[String], rest: &str) -> Named {
    let path: Vec<String> = path.iter().filter(|part| *part != "self").cloned().collect();
    let alias = rest.trim_start().strip_prefix("as ");
    let alias = alias.and_then(|alias| alias.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    let name = alias.or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
    Named { path, name }
}

/// The deepest module that a path within `module` names; none where it is the module's own or one above it.
pub(crate) fn resolve(path: &[String], module: &Module, imports: &Imports) -> Option<Module> {
    let found = locate(path, module, imports, MOST_IMPORTS)?;
    (!module.starts_with(&found)).then_some(found)
}

/// The module that has the item of a path within `module`, where imports lead to it.
fn locate(path: &[String], module: &Module, imports: &Imports, left: u32) -> Option<Module> {
    let (mut at, rest) = match path.split_first()? {
        (first, rest) if first == "droptrace_base" => (vec!["base".to_owned()], rest),
        (first, rest) if first == "crate" => (vec![member_of(rest.first()?, module.first()?, imports)], rest),
        _ => (module.clone(), path),
    };
    for part in rest {
        if part == "super" {
            at.pop()?;
            continue;
        }
        at.push(part.clone());
        if is_module(&at, imports) {
            continue;
        }
        at.pop();
        let import = imports.get(&at).and_then(|names| names.get(part)).filter(|_| left > 0);
        match import.and_then(|path| locate(path, &at, imports, left - 1)) {
            Some(found) => at = found,
            None => break,
        }
    }
    while !at.is_empty() && !imports.contains_key(&at) {
        at.pop();
    }
    (!at.is_empty()).then_some(at)
}

/// Whether a path is a module, or a folder of modules without a file of its own.
fn is_module(path: &Module, imports: &Imports) -> bool {
    imports.range(path.clone()..).next().is_some_and(|(next, _)| next.starts_with(path))
}

/// The member that has a module which a member names as its own: it may be one of the lowest member's.
fn member_of(module: &str, member: &str, imports: &Imports) -> String {
    let is_own = imports.contains_key(&vec![member.to_owned(), module.to_owned()]);
    (if is_own { member } else { "base" }).to_owned()
}
