//! The hosts of a fleet: their roles, racks, kernels and regions, and what happened to them.

use rand::RngExt as _;
use rand_xorshift::XorShiftRng;
use serde::{Deserialize, Serialize};

use super::draw::{apart, pick, stream};
use super::parameters::{PAST_DAYS, Profile, WINDOW};

/// Drivers of physical interfaces.
const DRIVERS: [(&str, f64); 4] = [("ixgbe", 0.35), ("mlx5_core", 0.35), ("ice", 0.2), ("virtio_net", 0.1)];
/// The shortest up-time within a window, in seconds: a host that has just started takes no snapshot.
const SHORTEST: f64 = 30.0;

/// A host as the file of hosts describes it. A grouping of hosts is one of its properties.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Node name.
    pub host: String,
    /// Role: hosts of a role drop alike.
    pub role: String,
    /// Rack: hosts of a rack share a segment of the network.
    pub rack: String,
    /// Kernel release.
    pub kernel: String,
    /// Region with a local time.
    pub zone: String,
    /// Driver of the physical interface.
    pub driver: String,
    /// Seconds since a restart within the window; `None` if the host was up for the whole window.
    pub uptime: Option<f64>,
    /// Whether the host has a snapshot of the window.
    pub reports: bool,
}

/// A host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) facts: HostFacts,
    pub(super) role: usize,
    pub(super) rack: usize,
    pub(super) kernel: usize,
    pub(super) zone: usize,
    /// How many times the traffic of a middle host.
    pub(super) traffic: f64,
    /// Whether the host has a snapshot of the window, and of each day before.
    pub(super) reports: [bool; 1 + PAST_DAYS],
}

/// The properties that the hosts of a rack share.
struct Rack {
    role: usize,
    kernel: usize,
    zone: usize,
    driver: &'static str,
    draws: XorShiftRng,
}

/// All hosts, rack by rack.
pub(super) fn hosts(profile: &Profile, count: usize, seed: u64) -> Vec<Host> {
    let mut draws = stream(seed, &[0x7261_636b]);
    let mut hosts = Vec::with_capacity(count);
    for number in 0.. {
        let size = draws.random_range(profile.rack.0..=profile.rack.1).min(count - hosts.len());
        if size == 0 {
            break;
        }
        let rack = Rack {
            role: pick(role_shares(profile), &mut draws),
            kernel: pick(profile.kernels.iter().map(|kernel| kernel.1), &mut draws),
            zone: pick(profile.zones.iter().map(|zone| zone.share), &mut draws),
            driver: DRIVERS[pick(DRIVERS.iter().map(|driver| driver.1), &mut draws)].0,
            draws: stream(seed, &[0x686f_7374, number]),
        };
        let first = hosts.len();
        hosts.extend(of_rack(profile, rack, usize::try_from(number).unwrap_or_default(), first..first + size));
    }
    hosts
}

fn of_rack(profile: &Profile, rack: Rack, number: usize, hosts: std::ops::Range<usize>) -> impl Iterator<Item = Host> {
    let Rack { role, kernel, zone, driver, mut draws } = rack;
    hosts.map(move |host| {
        let other_role = pick(role_shares(profile), &mut draws);
        let role = if draws.random_bool(profile.main_role) { role } else { other_role };
        let other_kernel = pick(profile.kernels.iter().map(|kernel| kernel.1), &mut draws);
        let kernel = if draws.random_bool(profile.main_kernel) { kernel } else { other_kernel };
        let traffic = apart(profile.hosts_apart, &mut draws);
        let reports = std::array::from_fn(|_| !draws.random_bool(profile.missing));
        let uptime = draws.random_range(SHORTEST..WINDOW).round();
        let uptime = draws.random_bool(profile.restarted).then_some(uptime);
        let facts = HostFacts {
            host: format!("host-{host:05}"),
            role: format!("role-{role:02}"),
            rack: format!("rack-{number:03}"),
            kernel: profile.kernels[kernel].0.into(),
            zone: profile.zones[zone].name.into(),
            driver: driver.into(),
            uptime,
            reports: reports[0],
        };
        Host { facts, role, rack: number, kernel, zone, traffic, reports }
    })
}

#[expect(clippy::cast_precision_loss, reason = "a few roles")]
fn role_shares(profile: &Profile) -> impl Iterator<Item = f64> + Clone {
    let skew = profile.role_skew;
    (0..profile.roles).map(move |rank| (rank as f64 + 1.0).powf(-skew))
}
