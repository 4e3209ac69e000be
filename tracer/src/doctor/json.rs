//! Shows the diagnosis as JSON (`droptrace.doctor.v1`).

use std::io::{self, Write};

use serde::Serialize;

use super::Diagnosis;
use crate::outside::to_json;

#[derive(Serialize)]
struct Document<'d> {
    schema: &'static str,
    host: &'d str,
    kernel: &'d str,
    checks: Vec<Check<'d>>,
    backends: Vec<CaptureBackend<'d>>,
    /// The mode of the selected backend; absent if no backend works.
    selected: Option<&'static str>,
}

#[derive(Serialize)]
struct Check<'d> {
    name: &'static str,
    state: &'static str,
    found: &'d str,
    advice: Option<&'d str>,
}

#[derive(Serialize)]
struct CaptureBackend<'d> {
    source: &'static str,
    mode: &'static str,
    works: bool,
    /// The cause; absent if the backend works.
    unavailable: Option<&'d str>,
    remedy: Option<&'d str>,
    loses: &'static str,
    cannot_see: &'static str,
}

/// Writes one line of JSON.
pub(crate) fn write_json(out: &mut impl Write, diagnosis: &Diagnosis) -> io::Result<()> {
    let checks = diagnosis.checks.iter().map(|check| Check {
        name: check.name,
        state: check.state.name(),
        found: &check.found,
        advice: check.advice.as_deref(),
    });
    let backends = diagnosis.backends.iter().map(|backend| CaptureBackend {
        source: backend.source,
        mode: backend.mode,
        works: backend.unavailable.is_none(),
        unavailable: backend.unavailable.as_ref().map(|why| &*why.cause),
        remedy: backend.unavailable.as_ref().and_then(|why| why.remedy.as_deref()),
        loses: backend.loses,
        cannot_see: backend.cannot_see,
    });
    let document = Document {
        schema: "droptrace.doctor.v1",
        host: &diagnosis.host.name,
        kernel: &diagnosis.host.kernel,
        checks: checks.collect(),
        backends: backends.collect(),
        selected: diagnosis.selected().map(|backend| backend.mode),
    };
    to_json(&mut *out, &document)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good, unavailable};
    use super::*;

    fn json(diagnosis: &Diagnosis) -> serde_json::Value {
        let mut out = Vec::new();
        write_json(&mut out, diagnosis).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn json_reports_selected_and_unavailable_backends() {
        let good = json(&good());
        assert_eq!((&good["schema"], &good["selected"]), (&"droptrace.doctor.v1".into(), &"tp_btf".into()));
        assert_eq!((&good["backends"][1]["works"], &good["checks"][0]["advice"]), (&true.into(), &().into()));
        assert_eq!(good["backends"][0]["cannot_see"], "losses in drivers");
        let unavailable = json(&unavailable());
        assert_eq!((&unavailable["selected"], &unavailable["checks"][0]["state"]), (&().into(), &"missing".into()));
        assert!(unavailable["backends"][0]["unavailable"].as_str().unwrap().contains("CAP_BPF"));
    }
}
