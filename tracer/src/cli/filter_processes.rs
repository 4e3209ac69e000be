//! Where filters may ask for processes: the kernel counts drops by sockets, whose processes are found later.

use std::path::Path;

use super::args::Command;
use crate::filter::question::Question;
use crate::filter::{Filter, FilterError};
use crate::identity::process::{self, Process};
use crate::outside::printable;

/// Fails if the command cannot apply the conditions on processes.
pub(super) fn check(command: &Command, filter: &Filter) -> Result<(), FilterError> {
    match command {
        Command::Replay(_) => Ok(()),
        Command::Trace(args) if !args.is_dtr() => filter.split().map(drop),
        Command::Trace(_) => refuse_with(filter, "blocks are recorded before processes are found", |_| {
            "write `process` behind `droptrace replay`, or record lines of JSON (--raw)".to_owned()
        }),
        _ => refuse(filter),
    }
}

/// Fails if the filter asks for a process, for commands that show only counts.
pub(super) fn refuse(filter: &Filter) -> Result<(), FilterError> {
    refuse_with(filter, "the kernel counts drops before their processes are found", way_out)
}

fn refuse_with(filter: &Filter, message: &str, remedy: impl Fn(&str) -> String) -> Result<(), FilterError> {
    let of_process = |question: &Question| match question {
        Question::Process(given) => Some(given.clone()),
        _ => None,
    };
    let found = filter.questions.iter().enumerate().find_map(|(at, question)| Some((at, of_process(question)?)));
    found.map_or(Ok(()), |(at, given)| Err(filter.refuse(at, message, Some(remedy(&given)))))
}

/// The control group of the process, if there is such a process, and the commands that know processes.
fn way_out(given: &str) -> String {
    let others = "`trace` and `replay` filter by process, and `stat --by process` groups by it";
    let Some(Process { pid, comm, cgroup: Some(cgroup), .. }) = process::matching(Path::new("/proc"), given) else {
        return others.to_owned();
    };
    let (comm, cgroup) = (comm.unwrap_or_default(), printable(&cgroup).into_owned());
    format!("write `cgroup \"{cgroup}\"`, the control group of {}[{pid}], or: {others}", printable(&comm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_know_no_processes() {
        let error = refuse(&Filter::parse("udp and process no-such-process-here").unwrap()).unwrap_err().to_string();
        assert!(error.contains("before their processes are found") && error.contains("`stat --by process`"), "{error}");
        assert!(!error.contains("write `cgroup"), "{error}");
        assert_eq!(refuse(&Filter::parse("udp and uid 0").unwrap()), Ok(()));
    }
}
