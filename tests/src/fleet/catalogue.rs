//! The kernels and drop reasons of the fleet's hosts.

use anyhow::{Context, Result};
use droptrace_base::explain::{Explanations, Usual};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_xorshift::XorShiftRng;

/// Reasons that most hosts have.
const COMMON: usize = 15;
/// Of the most common reason, drops a second of the middle host.
const MOST: f64 = 20.0;
/// How fast reasons get rarer: the second has a half to the power of this.
const SKEW: f64 = 1.2;

/// A kernel release, and how many of a hundred hosts run it.
const KERNELS: [(&str, usize); 5] = [("6.1.0-31", 40), ("6.12.95", 25), ("6.18.5", 15), ("6.18.44", 12), ("7.3.0", 8)];
/// The kernel with the planted fault, whose hosts drop more.
pub(super) const PLANTED_KERNEL: &str = KERNELS[2].0;

/// A reason of the fleet.
#[derive(Clone, Debug)]
pub(super) struct Reason {
    pub(super) name: String,
    /// Drops a second of the middle host.
    pub(super) rate: f64,
    /// The share of hosts that have the reason.
    pub(super) prevalence: f64,
    /// Functions that drop for this reason.
    pub(super) symbols: Vec<String>,
}

/// All reasons.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// Usual reasons, the most common first.
    pub(super) usual: Vec<Reason>,
    /// Names of reasons that a healthy host does not show.
    pub(super) faults: Vec<String>,
    /// A usual reason that the fleet does not have.
    pub(super) spare: String,
}

impl Catalogue {
    pub(super) fn new(seed: u64) -> Result<Self> {
        let known = Explanations::built_in().context("the explanations")?;
        let core = known.iter().filter(|(name, it)| it.subsystem == "core" && *name != "NOT_SPECIFIED");
        let (faults, usual): (Vec<_>, Vec<_>) = core.partition(|(_, it)| it.usual == Some(Usual::Never));
        let mut names: Vec<_> = usual.into_iter().map(|(name, _)| name.to_owned()).collect();
        names.shuffle(&mut XorShiftRng::seed_from_u64(seed));
        let spare = names.pop().context("no reasons are known")?;
        let usual = names.into_iter().enumerate().map(|(rank, name)| reason(rank, name)).collect();
        Ok(Self { usual, faults: faults.into_iter().map(|(name, _)| name.to_owned()).collect(), spare })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a hundred reasons")]
fn reason(rank: usize, name: String) -> Reason {
    let rare = rank.saturating_sub(COMMON) as f64;
    let lower = name.to_lowercase();
    Reason {
        rate: MOST / (rank as f64 + 1.0).powf(SKEW),
        prevalence: (1.0 - rare / 60.0).max(0.03),
        symbols: (0..=rank % 7).map(|number| format!("{lower}_{number}_rcv")).collect(),
        name,
    }
}

/// The kernel release of a host: a hundred in a row have them all.
pub(super) fn kernel(host: usize) -> &'static str {
    // 37 and 100 have no divisor in common: neighbours differ.
    let mut at = host * 37 % 100;
    for (name, share) in KERNELS {
        if at < share {
            return name;
        }
        at -= share;
    }
    KERNELS[0].0
}
