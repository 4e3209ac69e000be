//! Whether a measured quantity stays the same.

/// The points of the second half of a run. `None` with fewer than four.
fn second_half(points: &[(f64, f64)]) -> Option<&[(f64, f64)]> {
    let middle = points.first()?.0.midpoint(points.last()?.0);
    let half = &points[points.partition_point(|(at, _)| *at < middle)..];
    (half.len() >= 4).then_some(half)
}

/// The median of values of which there is at least one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2].midpoint(values[values.len() / 2])
}

/// How much a number is greater at the end of the second half of a run than at its start: the difference of the medians of its last
/// and its first third, which sees each step, and no single value. `None` with fewer than four points in that half.
pub fn rise(points: &[(f64, f64)]) -> Option<f64> {
    let half = second_half(points)?;
    let third = half.len() / 3;
    let of = |points: &[(f64, f64)]| median(points.iter().map(|(_, value)| *value).collect());
    Some(of(&half[half.len() - third..]) - of(&half[..third]))
}

/// How much a quantity grows in the second half of a run, by the median of the slopes between each two of its points (Theil and
/// Sen), which single values do not move. `None` with fewer than four points in that half.
pub fn growth(points: &[(f64, f64)]) -> Option<f64> {
    let half = second_half(points)?;
    let pairs = half.iter().enumerate().flat_map(|(at, one)| half[at + 1..].iter().map(move |other| (one, other)));
    let slope = median(pairs.map(|(one, other)| (other.1 - one.1) / (other.0 - one.0)).collect());
    Some(slope * (half.last()?.0 - half.first()?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: impl Fn(f64) -> f64) -> f64 {
        let points: Vec<_> = (0..=100).map(f64::from).map(|at| (at, value(at))).collect();
        growth(&points).unwrap()
    }

    fn is_near(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-9
    }

    #[test]
    fn a_leak_grows() {
        assert!(is_near(of(|at| 1000.0 + 3.0 * at), 150.0));
    }

    #[test]
    fn the_first_half_does_not_matter() {
        assert!(is_near(of(|at| at.min(50.0)), 0.0));
    }

    #[test]
    fn single_peaks_do_not_matter() {
        assert!(is_near(of(|at| if is_near(at, 99.0) { 1e9 } else { 7.0 }), 0.0));
    }

    #[test]
    fn a_step_is_a_rise() {
        let of =
            |value: fn(i32) -> f64| rise(&(0..100).map(|at| (f64::from(at), value(at))).collect::<Vec<_>>()).unwrap();
        assert!(is_near(of(|at| if at < 75 { 3.0 } else { 4.0 }), 1.0));
        assert!(is_near(of(|at| if at % 10 == 0 { 9.0 } else { 3.0 }), 0.0));
        assert!(is_near(of(|at| if at < 45 { 3.0 } else { 4.0 }), 0.0));
    }

    #[test]
    fn few_points_have_no_trend() {
        assert_eq!(growth(&[]), None);
        let few = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)];
        assert_eq!((growth(&few), rise(&few)), (None, None));
    }
}
