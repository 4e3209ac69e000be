//! The part of a filter that the kernel program applies, and the part about processes, which are known only later.

use super::ast::{Expression, Join, Test};
use super::error::FilterError;
use super::question::Question;
use super::{Filter, parse};

/// The two parts of a filter: a drop matches the filter if it matches both. A part without conditions is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The conditions without processes.
    pub counted: Option<Filter>,
    /// The conditions on processes.
    pub processes: Option<Filter>,
}

impl Filter {
    /// Whether the code asks for processes.
    pub fn asks_process(&self) -> bool {
        self.questions.iter().any(|question| matches!(question, Question::Process(_)))
    }

    /// Divides the filter at the words `and` outside parentheses.
    ///
    /// # Errors
    /// Fails if a condition on processes is an alternative to another condition.
    pub fn split(&self) -> Result<Split, FilterError> {
        let (expression, asked) = parse::parse(&self.text)?;
        let mut parts = Vec::new();
        divide(expression, &mut parts);
        let (mut counted, mut processes) = (Vec::new(), Vec::new());
        for part in parts {
            match kind(&part) {
                Kind::Counted => counted.push(part),
                Kind::Processes => processes.push(part),
                Kind::Mixed => return Err(self.inseparable(&asked)),
            }
        }
        let filter = |parts| joined(parts).map(|joined| Self::compiled(&self.text, &joined, &asked)).transpose();
        Ok(Split { counted: filter(counted)?, processes: filter(processes)? })
    }

    fn inseparable(&self, asked: &[(Question, usize)]) -> FilterError {
        let offset = asked.iter().find(|(question, _)| matches!(question, Question::Process(_)));
        let offset = offset.map_or(0, |(_, offset)| *offset);
        FilterError::new(&self.text, offset, "a process is an alternative to another condition")
            .with("join `process` with `and`: the kernel counts first, and the processes are found later; `replay` takes both")
    }
}

/// What a condition asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counted,
    Processes,
    Mixed,
}

fn kind(expression: &Expression) -> Kind {
    match expression {
        Expression::Test(Test::Question(Question::Process(_))) => Kind::Processes,
        Expression::Test(_) => Kind::Counted,
        Expression::Not(inner) => kind(inner),
        Expression::Chain(first, rest) => {
            let of_first = kind(first);
            let is_same = rest.iter().all(|(_, next)| kind(next) == of_first);
            if is_same { of_first } else { Kind::Mixed }
        }
    }
}

/// The conditions that must hold together. `and` and `or` bind equally: the last `or` joins all before it.
fn divide(expression: Expression, parts: &mut Vec<Expression>) {
    let Expression::Chain(first, mut rest) = expression else { return parts.push(expression) };
    let behind_or = rest.iter().rposition(|(join, _)| *join == Join::Or).map_or(0, |at| at + 1);
    let behind = rest.split_off(behind_or);
    if rest.is_empty() {
        divide(*first, parts);
    } else {
        parts.push(Expression::Chain(first, rest));
    }
    for (_, next) in behind {
        divide(next, parts);
    }
}

fn joined(parts: Vec<Expression>) -> Option<Expression> {
    let mut parts = parts.into_iter();
    let first = parts.next()?;
    let rest: Vec<_> = parts.map(|part| (Join::And, part)).collect();
    Some(if rest.is_empty() { first } else { Expression::Chain(Box::new(first), rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Result<Split, FilterError> {
        Filter::parse(text).unwrap().split()
    }

    /// The same code as that of a filter.
    fn same(part: Option<&Filter>, text: Option<&str>) {
        let expected = text.map(|text| Filter::parse(text).unwrap());
        let code = |filter: Option<&Filter>| filter.map(|filter| (filter.code.clone(), filter.questions.clone()));
        assert_eq!(code(part), code(expected.as_ref()), "{text:?}");
    }

    #[test]
    fn joined_conditions_are_divided() {
        for (text, counted, processes) in [
            ("process nginx", None, Some("process nginx")),
            ("udp", Some("udp"), None),
            ("udp and not process nginx", Some("udp"), Some("not process nginx")),
            ("process nginx or php and udp", Some("udp"), Some("process nginx or php")),
            ("udp or tcp and (process 7 and port 53)", Some("(udp or tcp) and port 53"), Some("process 7")),
            ("not (process 7 or process a)", None, Some("not (process 7 or process a)")),
        ] {
            let found = split(text).unwrap();
            same(found.counted.as_ref(), counted);
            same(found.processes.as_ref(), processes);
        }
    }

    #[test]
    fn alternatives_to_a_process_are_refused_at_its_name() {
        for text in [
            "udp or process nginx",
            "not (udp and process nginx)",
            "tcp and (process nginx or port 53)",
            "process nginx and tcp or udp",
        ] {
            let error = split(text).unwrap_err();
            assert_eq!(error.offset, text.find("nginx").unwrap(), "{text}");
            assert!(error.to_string().contains("join `process` with `and`"), "{error}");
        }
    }
}
