//! The command that made a page, as it may be shown to anybody.

use std::env;
use std::fmt::Write as _;

use crate::explain::quoted;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// The options of a command whose values may be secrets. Users and passwords of URLs always are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secrets<'s>(pub &'s [&'s str]);

impl Secrets<'_> {
    /// The command line of this process.
    pub(super) fn command(self) -> String {
        self.shown(env::args_os().map(|word| word.to_string_lossy().into_owned()))
    }

    /// The words of a command as they are typed in a shell.
    fn shown(self, words: impl Iterator<Item = String>) -> String {
        let mut is_secret = false;
        let mut shown: Vec<String> = Vec::new();
        for word in words {
            if word == "--" {
                // The command of somebody else, with secrets that are not known.
                shown.push("-- …".into());
                break;
            }
            let (option, value) = word.split_once('=').map_or((&*word, None), |(option, value)| (option, Some(value)));
            let known = self.0.contains(&option);
            let text = match value {
                _ if is_secret => HIDDEN.into(),
                Some(_) if known => format!("{option}={HIDDEN}"),
                _ => without_user(&word),
            };
            is_secret = known && value.is_none() && !is_secret;
            shown.push(quoted(&text).into_owned());
        }
        shown.join(" ")
    }
}

/// The text with its URLs without users and passwords. Other text stays.
fn without_user(word: &str) -> String {
    let mut parts = word.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', '?', '#', ' ']).unwrap_or(part.len());
        shown.push_str("://");
        match part[..end].rfind('@') {
            Some(at) => _ = write!(shown, "{HIDDEN}{}", &part[at..]),
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &[&str]) -> String {
        Secrets(&["--header"]).shown(line.iter().map(|&word| word.to_owned()))
    }

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(shown(&["fleet", "--header", "A: secret", "--html", "x"]), "fleet --header '***' --html x");
        assert_eq!(shown(&["fleet", "--header=A: secret"]), "fleet '--header=***'");
        assert_eq!(shown(&["fleet", "--header", "--header", "x"]), "fleet --header '***' x");
        let url = "https://user:pass@word@host:9090/a@b?c=d@e";
        assert_eq!(shown(&["fleet", url]), "fleet 'https://***@host:9090/a@b?c=d@e'");
        assert_eq!(shown(&[&format!("--prometheus={url}")]), "'--prometheus=https://***@host:9090/a@b?c=d@e'");
    }

    #[test]
    fn secrets_of_a_counted_command_are_hidden() {
        assert_eq!(shown(&["droptrace", "stat", "--", "curl", "-H", "Authorization: secret"]), "droptrace stat -- …");
        assert_eq!(shown(&["a https://u:p@h/ https://u:p@h/"]), "'a https://***@h/ https://***@h/'");
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(shown(&["droptrace", "stat", "port 53", "it's"]), r"droptrace stat 'port 53' 'it'\''s'");
    }
}
