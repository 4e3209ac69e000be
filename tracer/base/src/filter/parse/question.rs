//! The words of droptrace: questions about the drop.

use super::{Expression, Parsed, Parser, Question, Test};

/// The prefix of the kernel's names of drop reasons.
const PREFIX: &str = "SKB_DROP_REASON_";

/// The word of a question that has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Reason,
    Site,
    Netns,
    Interface,
    Cgroup,
    Container,
    Pod,
    User,
    Process,
}

impl Ask {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "reason" => Self::Reason,
            "site" => Self::Site,
            "netns" => Self::Netns,
            "iface" => Self::Interface,
            "cgroup" => Self::Cgroup,
            "container" => Self::Container,
            "pod" => Self::Pod,
            "uid" => Self::User,
            "process" => Self::Process,
            _ => return None,
        })
    }

    const fn needs(self) -> &'static str {
        match self {
            Self::Reason => "`reason` needs a drop reason, such as SOCKET_RCVBUFF or TCP_*",
            Self::Site => "`site` needs a kernel function, such as tcp_v4_rcv",
            Self::Netns => "`netns` needs a network namespace: self, an inode number, pid:N, a name or a path",
            Self::Interface => "`iface` needs the name or index of an interface",
            Self::Cgroup => "`cgroup` needs a path, such as /system.slice/nginx.service",
            Self::Container => "`container` needs a name or an id",
            Self::Pod => "`pod` needs a name, with its namespace before it or not: web/nginx",
            Self::User => "`uid` needs the number or name of a user, such as 1000 or www-data",
            Self::Process => "`process` needs the name or id of a process, such as nginx or 4711",
        }
    }

    fn with(self, name: &str) -> Question {
        match self {
            Self::Reason => Question::Reason(without_prefix(name).into()),
            Self::Site => Question::Site(name.into()),
            Self::Netns => Question::Netns(name.into()),
            Self::Interface => Question::Interface(name.into()),
            Self::Cgroup => Question::Cgroup(name.into()),
            Self::Container => Question::Container(name.into()),
            Self::Pod => Question::Pod(name.into()),
            Self::User => Question::User(name.into()),
            Self::Process => Question::Process(name.into()),
        }
    }
}

fn without_prefix(name: &str) -> &str {
    let prefix = name.get(..PREFIX.len()).filter(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
    prefix.map_or(name, |prefix| &name[prefix.len()..])
}

impl Parser<'_> {
    /// Steps over the word of a question.
    pub(super) fn ask(&mut self) -> Option<Ask> {
        let word = self.lexer.word();
        let ask = Ask::of(word)?;
        self.lexer.skip(word);
        Some(ask)
    }

    /// The name behind the word of a question.
    pub(super) fn question(&mut self, ask: Ask) -> Parsed<Expression> {
        let offset = self.lexer.position();
        let name = self.lexer.name()?;
        if name.is_empty() {
            return Err(self.error_at(offset, ask.needs()));
        }
        if name.starts_with('=') {
            return Err(self
                .error_at(offset, "no sign stands before a name")
                .with("write the name alone: `reason NO_SOCKET`"));
        }
        let question = ask.with(name);
        self.asked.push((question.clone(), offset));
        Ok(Expression::Test(Test::Question(question)))
    }
}
