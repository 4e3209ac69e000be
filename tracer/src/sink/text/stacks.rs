//! The call stacks under the table of `stat --stack`.

use crate::dimension;
use crate::domain::hook::netfilter_hook;
use crate::domain::stack::{SampledStack, SampledStacks, likely_share};
use crate::render::number::Grouped;

/// Drop sites, and stacks of each, that are shown unless all rows are asked for.
const SITES: usize = 5;
const STACKS: usize = 3;

/// The stacks of the sites with the most drops: of all, or of some.
pub(super) fn lines(sites: &[SampledStacks], all: bool) -> Vec<String> {
    let (most_sites, most_stacks) = if all { (usize::MAX, usize::MAX) } else { (SITES, STACKS) };
    let mut lines = vec![];
    for site in sites.iter().take(most_sites) {
        lines.push(String::new());
        lines.push(head(site));
        for stack in site.stacks.iter().take(most_stacks) {
            lines.push(share(stack, site.sampled));
            lines.extend(callers(stack));
        }
        lines.extend(rest("stack", &site.stacks, most_stacks, |stack| stack.samples));
        let unknown = site.sampled - site.stacks.iter().map(|stack| stack.samples).sum::<u64>();
        if unknown > 0 {
            lines.push(format!("  unknown stacks: {} samples", Grouped(unknown)));
        }
    }
    lines.extend(rest("drop site", sites, most_sites, |site| site.sampled));
    lines
}

fn head(row: &SampledStacks) -> String {
    let (reason, site) = (dimension::reason(&row.reason), dimension::site(&row.location, usize::MAX));
    let (sampled, drops) = (Grouped(row.sampled), Grouped(row.drops));
    format!("{reason} at {site}: call stacks of {sampled} of {drops} drops")
}

/// `87 % of 1,204 sampled (85 to 89 % of all)`.
fn share(stack: &SampledStack, sampled: u64) -> String {
    let percent = |share: f64| format!("{:.0}", 100.0 * share);
    let (low, high) = likely_share(stack.samples, sampled);
    #[expect(clippy::cast_precision_loss, reason = "samples are fewer than 2^53")]
    let share = percent(stack.samples as f64 / sampled.max(1) as f64);
    let likely = format!("{} to {} % of all", percent(low), percent(high));
    let hook = netfilter_hook(&stack.functions).map_or_else(String::new, |hook| format!(", netfilter hook {hook}"));
    format!("  {share} % of {} sampled ({likely}){hook}:", Grouped(sampled))
}

/// The functions, without the first one, which is the drop site.
fn callers(stack: &SampledStack) -> impl Iterator<Item = String> {
    stack.functions.iter().skip(1).map(|function| format!("      {}", dimension::site(function, usize::MAX)))
}

fn rest<T>(what: &str, of: &[T], shown: usize, samples: impl Fn(&T) -> u64) -> Option<String> {
    let hidden = of.get(shown..).filter(|hidden| !hidden.is_empty())?;
    let (count, plural) = (hidden.len(), if hidden.len() == 1 { "" } else { "s" });
    let samples = hidden.iter().map(samples).sum();
    Some(format!("  … and {count} more {what}{plural} with {} samples (--top 0 shows all)", Grouped(samples)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::stacks;

    #[test]
    fn each_site_has_its_most_frequent_stacks() {
        insta::assert_snapshot!(lines(&stacks(), false).join("\n"));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let site = stacks().remove(0);
        let first = &site.stacks[0];
        let many = SampledStacks { stacks: vec![first.clone(); 5], sampled: 5 * first.samples + 2, ..site.clone() };
        let text = lines(&vec![many.clone(); 7], false).join("\n");
        assert!(
            text.contains("… and 2 more stacks with 2,094 samples") && text.contains("unknown stacks: 2 samples"),
            "{text}"
        );
        assert!(text.ends_with("… and 2 more drop sites with 10,474 samples (--top 0 shows all)"), "{text}");
        let all = lines(&vec![many; 7], true).join("\n");
        assert!(!all.contains('…') && all.matches("% of 5,237 sampled").count() == 35, "{all}");
    }
}
