//! Conditions on counts of drops, for `--fail-if`.

use std::fmt;
use std::str::FromStr;

use super::hide::rows_filter;
use crate::filter::Filter;

/// Which drops a condition counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// All drops of packets.
    Total,
    /// Drops that were seen and are in no count.
    Lost,
    /// Losses outside `kfree_skb`: by the kernel's counters, and refused SYNs.
    Outside,
    /// Drops in rows that match.
    Rows(Box<Filter>),
}

/// How a count compares with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Different,
}

/// Longer operators first, so that none is taken for its start.
const OPERATORS: [(&str, Comparison); 6] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Equal),
    ("!=", Comparison::Different),
    (">", Comparison::Greater),
    ("<", Comparison::Less),
];

/// A condition: a count, a comparison, and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailIf {
    text: String,
    /// Which drops.
    pub(crate) counted: Counted,
    comparison: Comparison,
    number: u64,
}

/// What a condition is for a count that is not exactly known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// False, whatever was lost.
    No,
    /// True or false, depending on the drops that were lost or whose row is unknown.
    Perhaps,
    /// True.
    Yes,
}

impl FailIf {
    /// The answer for a count of at least `least` and at most `most`; `most` is absent where an unknown number was lost.
    pub(crate) fn answer(&self, least: u64, most: Option<u64>) -> Answer {
        let n = self.number;
        let (is_possible, is_certain) = match self.comparison {
            Comparison::Greater => (most.is_none_or(|most| most > n), least > n),
            Comparison::AtLeast => (most.is_none_or(|most| most >= n), least >= n),
            Comparison::Less => (least < n, most.is_some_and(|most| most < n)),
            Comparison::AtMost => (least <= n, most.is_some_and(|most| most <= n)),
            Comparison::Equal => (least <= n && most.is_none_or(|most| most >= n), least == n && most == Some(n)),
            Comparison::Different => (!(least == n && most == Some(n)), least > n || most.is_some_and(|most| most < n)),
        };
        match (is_certain, is_possible) {
            (true, _) => Answer::Yes,
            (false, true) => Answer::Perhaps,
            (false, false) => Answer::No,
        }
    }
}

impl fmt::Display for FailIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads `unusual > 0`, `total > 100`, `lost > 0`, `outside > 0`, `'reason NO_SOCKET and netns blue' > 0`.
impl FromStr for FailIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            "write COUNT > NUMBER: `total`, `lost`, `outside`, `unusual`, or an expression of rows, such as `reason NO_SOCKET`, \
             then one of > >= < <= == != and a whole number"
                .to_owned()
        };
        let trimmed = text.trim();
        let digits = trimmed.len() - trimmed.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (head, number) = trimmed.split_at(trimmed.len() - digits);
        let number = number.parse().map_err(|_| form())?;
        let head = head.trim_end();
        let operator = OPERATORS.into_iter().find_map(|(sign, it)| Some((head.strip_suffix(sign)?, it)));
        let (subject, comparison) = operator.ok_or_else(form)?;
        let subject = unquoted(subject.trim());
        let counted = match subject {
            "" => return Err(form()),
            "total" => Counted::Total,
            "lost" => Counted::Lost,
            "outside" => Counted::Outside,
            _ => Counted::Rows(Box::new(rows_filter(subject)?)),
        };
        Ok(Self { text: trimmed.to_owned(), counted, comparison, number })
    }
}

/// The text without the quotes around it.
fn unquoted(text: &str) -> &str {
    let between = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    between('\'').or_else(|| between('"')).unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> FailIf {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn conditions_are_read() {
        assert_eq!(parsed("total>100").counted, Counted::Total);
        assert_eq!(parsed(" lost != 0 ").counted, Counted::Lost);
        for text in ["unusual > 0", "'reason NO_SOCKET' > 0", "\"site nf_* and netns blue\" >= 3", "usual<=7"] {
            assert!(matches!(parsed(text).counted, Counted::Rows(_)), "{text}");
        }
        assert_eq!(parsed("'reason NO_SOCKET'  >= 12").to_string(), "'reason NO_SOCKET'  >= 12");
    }

    #[test]
    fn other_texts_are_errors_that_show_the_form() {
        for text in
            ["", "total", "total >", "> 0", "total = 3", "total > -1", "total > 1k", "total > 99999999999999999999"]
        {
            assert!(text.parse::<FailIf>().unwrap_err().contains("COUNT > NUMBER"), "{text}");
        }
        assert!("tcp port 443 > 0".parse::<FailIf>().unwrap_err().contains("rows have no packets"));
        assert!("reson NO_SOCKET > 0".parse::<FailIf>().is_err());
    }

    /// Each answer is that of all counts between the least and the most.
    #[test]
    fn answers_are_those_of_all_possible_counts() {
        let holds = |sign: &str, count: u64, n: u64| match sign {
            ">" => count > n,
            ">=" => count >= n,
            "<" => count < n,
            "<=" => count <= n,
            "==" => count == n,
            _ => count != n,
        };
        for (sign, _) in OPERATORS {
            for n in 0..5 {
                let condition = parsed(&format!("total {sign} {n}"));
                for least in 0..6 {
                    for most in least..6 {
                        let each = (least..=most).map(|count| holds(sign, count, n));
                        let (any, all) = (each.clone().any(|it| it), each.clone().all(|it| it));
                        let expected = [Answer::No, Answer::Perhaps, Answer::Yes][usize::from(any) + usize::from(all)];
                        assert_eq!(condition.answer(least, Some(most)), expected, "{sign} {n} of {least}..{most}");
                    }
                    assert_ne!(parsed("total > 3").answer(least, None), Answer::No, "an unknown number was lost");
                }
            }
        }
    }
}
