//! Shows the diagnosis as a table.

use std::io::{self, Write};

use super::{Diagnosis, State};
use crate::domain::unavailable::Unavailable;

/// Writes the checks and the backends, with advice below each.
pub(crate) fn write_text(out: &mut impl Write, diagnosis: &Diagnosis) -> io::Result<()> {
    writeln!(out, "{}, Linux {}", diagnosis.host.name, diagnosis.host.kernel)?;
    writeln!(out)?;
    writeln!(out, "{:<22}  {:<8}  FOUND", "FACT", "STATE")?;
    for check in &diagnosis.checks {
        writeln!(out, "{:<22}  {:<8}  {}", check.name, check.state.name(), check.found)?;
        // If something is missing, the backends below show the advice.
        let advice = check.advice.as_deref().filter(|_| check.state != State::Missing);
        indented(out, advice)?;
    }
    writeln!(out)?;
    writeln!(out, "{:<22}  {:<8}  LOSES", "BACKEND", "WORKS")?;
    for (index, backend) in diagnosis.backends.iter().enumerate() {
        let way = format!("{} {}", backend.source, backend.mode);
        let works = if backend.unavailable.is_none() { "yes" } else { "no" };
        // What loses nothing compared with the best one shows nothing where it does not work.
        let loses = match (&backend.unavailable, backend.loses) {
            (Some(_), "nothing") => "-",
            (_, loses) => loses,
        };
        let selected = if diagnosis.selected() == Some(backend) { "   (used unless another is selected)" } else { "" };
        writeln!(out, "{way:<22}  {works:<8}  {loses}{selected}")?;
        // It does not depend on the mode.
        let is_first = diagnosis.backends[..index].iter().all(|before| before.source != backend.source);
        indented(out, is_first.then(|| format!("cannot see: {}", backend.cannot_see)).as_deref())?;
        let same = diagnosis.backends[..index].iter().find(|before| before.unavailable == backend.unavailable);
        let unavailable = backend.unavailable.as_ref();
        let text = unavailable.map(|unavailable| match same {
            Some(before) => format!("as for {} {}: {}", before.source, before.mode, first_line(unavailable)),
            None => unavailable.to_string(),
        });
        indented(out, text.as_deref())?;
    }
    Ok(())
}

fn first_line(unavailable: &Unavailable) -> &str {
    unavailable.cause.lines().next().unwrap_or_default()
}

fn indented(out: &mut impl Write, text: Option<&str>) -> io::Result<()> {
    text.iter().flat_map(|text| text.lines()).try_for_each(|line| writeln!(out, "    {line}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good, unavailable};
    use super::*;

    fn text(diagnosis: &Diagnosis) -> String {
        let mut out = Vec::new();
        write_text(&mut out, diagnosis).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn best_backend_is_selected_if_all_work() {
        insta::assert_snapshot!(text(&good()));
    }

    #[test]
    fn remedy_of_a_shared_cause_is_shown_once() {
        insta::assert_snapshot!(text(&unavailable()));
    }
}
