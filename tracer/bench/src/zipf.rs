//! The order of datagrams whose flows have shares by Zipf's law.

/// The exponent. Flows of the Internet have about this one.
const EXPONENT: f64 = 1.1;
/// The number of datagrams until the order repeats: so many that the rarest of 4,000 flows is among them.
const LENGTH: u32 = 1 << 16;

/// The flow of each datagram, by its rank from 0 on: each as often as its share says, mixed. Each run has the same order.
pub(super) fn order(flows: u16) -> Vec<u16> {
    let weights: Vec<f64> = (1..=flows).map(|rank| f64::from(rank).powf(-EXPONENT)).collect();
    let all: f64 = weights.iter().sum();
    let mut order = Vec::with_capacity(LENGTH as usize);
    let mut sum = 0.0;
    for (flow, weight) in (0..flows).zip(weights) {
        sum += weight;
        // Rounding the sums, not the shares, leaves no rest.
        order.resize(whole(f64::from(LENGTH) * sum / all), flow);
    }
    mix(&mut order);
    order
}

/// Brings the datagrams into an order without a pattern (Fisher and Yates), from a sequence of its own (`SplitMix64`).
fn mix(order: &mut [u16]) {
    let mut state = 0_u64;
    for at in (1..order.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = state;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        let other = usize::try_from(number % (at as u64 + 1)).unwrap_or(at);
        order.swap(at, other);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to LENGTH")]
fn whole(value: f64) -> usize {
    value.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fall_by_rank_and_all_flows_are_there() {
        let order = order(4_000);
        assert_eq!(order.len(), LENGTH as usize);
        let mut counts = vec![0_u32; 4_000];
        for flow in &order {
            counts[usize::from(*flow)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((ratio - 10_f64.powf(EXPONENT)).abs() < 0.1, "{ratio}");
        assert!(counts[0] > LENGTH / 8 && counts[..40].iter().sum::<u32>() > LENGTH / 2, "{counts:?}");
    }

    #[test]
    fn order_has_no_runs_of_the_flows_with_few_drops() {
        let order = order(4_000);
        let ascending = order.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((20_000..40_000).contains(&ascending), "{ascending}");
    }
}
