//! The users of this host: their numbers, by the names that `/etc/passwd` has. Name services such as LDAP are not asked.

use std::io;
use std::path::Path;

use crate::files;
use crate::filter::question::Question;
use crate::filter::{Filter, closest};

/// The greatest number of bytes of the file.
const MOST: u64 = 16 << 20;

/// The users that the file of this host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Users(Vec<(Box<str>, u32)>);

impl Users {
    /// Reads `/etc/passwd`.
    ///
    /// # Errors
    /// Returns the error of reading the file.
    pub(crate) fn read() -> io::Result<Self> {
        let bytes = files::read(Path::new("/etc/passwd"), MOST)?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// Lines of passwd(5); others are left out.
    fn parse(text: &str) -> Self {
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            Some((name.into(), fields.nth(1)?.parse().ok()?))
        };
        Self(text.lines().filter_map(user).collect())
    }

    /// The number of a user, given by the name or as the number itself.
    pub(crate) fn number(&self, given: &str) -> Option<u32> {
        number(given).or_else(|| self.0.iter().find(|(name, _)| **name == *given).map(|(_, uid)| *uid))
    }

    /// The name that is most similar to this one, if one is.
    pub(crate) fn nearest(&self, given: &str) -> Option<&str> {
        closest(given, self.0.iter().map(|(name, _)| &**name))
    }
}

/// The number of a user as it is written. `(uid_t)-1` is the number of no user (`setuid(2)`).
pub(crate) fn number(given: &str) -> Option<u32> {
    given.parse().ok().filter(|uid| *uid != u32::MAX && given.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The filter with numbers instead of the names of users, as far as this host has them.
#[must_use]
pub(crate) fn numbered(filter: &Filter) -> Filter {
    let mut filter = filter.clone();
    if filter.questions.iter().any(|question| matches!(question, Question::User(given) if number(given).is_none())) {
        let users = Users::read().unwrap_or_default();
        for question in &mut filter.questions {
            if let Question::User(given) = question
                && let Some(uid) = users.number(given)
            {
                *given = uid.to_string().into();
            }
        }
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\n# a comment\nwww-data:x:33:33::/var/www:/bin/false\n\
                          +::::::\nbad:x:many:1::/:\nshort:x\nwww-data:x:34:34::/:\n";

    #[test]
    fn lines_of_passwd_are_users() {
        let users = Users::parse(PASSWD);
        for (given, uid) in [
            ("root", Some(0)),
            ("www-data", Some(33)),
            ("1000", Some(1000)),
            ("0", Some(0)),
            ("bad", None),
            ("short", None),
            ("+7", None),
            ("4294967295", None),
            ("4294967296", None),
        ] {
            assert_eq!(users.number(given), uid, "{given}");
        }
        assert_eq!(users.nearest("www-date"), Some("www-data"));
        assert_eq!(users.nearest("postgres"), None);
    }

    #[test]
    fn numbers_replace_names_that_this_host_has() {
        let filter = Filter::parse("uid root or uid no-such-user-here or uid 7").unwrap();
        let numbered = numbered(&filter);
        let user = |given: &str| Question::User(given.into());
        assert_eq!(numbered.questions, [user("0"), user("no-such-user-here"), user("7")]);
        assert_eq!(numbered.code, filter.code);
    }
}
