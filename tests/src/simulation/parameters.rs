//! The parameters of simulated fleets. They come from knowledge of networks, were fixed before any detector had seen
//! a simulated fleet, and are not to be changed to suit a detector: a change makes earlier results incomparable.

use std::str::FromStr;

/// The kinds of fleets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetKind {
    /// Few roles and kernels, hosts much alike, moderate overdispersion.
    Web,
    /// Many roles of different sizes, strong overdispersion, many zeros, time zones, restarts and deployments.
    Mixed,
}

impl FleetKind {
    /// The name on the command line and in the truth.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Mixed => "mixed",
        }
    }

    pub(super) const fn profile(self) -> &'static Profile {
        match self {
            Self::Web => &WEB,
            Self::Mixed => &MIXED,
        }
    }
}

impl FromStr for FleetKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Web, Self::Mixed].into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| "no kind of fleet: write web or mixed".into())
    }
}

/// Days before the window that a host's past has.
pub const PAST_DAYS: usize = 7;
/// Series of a fleet.
pub const SERIES: usize = 500;
/// Length of the window in seconds.
pub(super) const WINDOW: f64 = 600.0;
/// The window's start: Wednesday, 2026-01-14, 12:00 UTC, in seconds since the Unix epoch.
pub(super) const START: u64 = 1_768_392_000;
/// The hour of [`START`].
pub(super) const HOUR: f64 = 12.0;
/// The local hour with the most traffic.
pub(super) const PEAK_HOUR: f64 = 15.0;
/// Days before the window that are a Sunday and a Saturday.
pub(super) const WEEKEND: [usize; 2] = [3, 4];
/// How much of the daily rhythm's amplitude is missing at a weekend.
pub(super) const WEEKEND_LOSS: f64 = 0.4;
/// Drops of the layer-2 segment: shape of the gamma factor that the hosts of a rack share in a window.
pub(super) const SEGMENT_SHAPE: f64 = 4.0;
/// Scans: standard deviation of the logarithm of the factor that a zone's hosts share on a day.
pub(super) const CAMPAIGN_APART: f64 = 0.8;
/// After a restart, packets for services that do not listen yet: how many times the usual more, and how fast that ends.
pub(super) const BOOT_EXCESS: f64 = 4.0;
/// Seconds in which the excess after a restart falls to a third.
pub(super) const BOOT_SECONDS: f64 = 60.0;
/// How fast the drop sites of one reason get rarer: the second has a half to the power of this.
pub(super) const SITE_SKEW: f64 = 0.8;

/// The causes of drops, which differ in how they are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Multicast, broadcast and ARP: the hosts of a rack see the same frames.
    Noise,
    /// Scans from the Internet: campaigns that reach all hosts of a region on a day.
    Scan,
    /// Segments of TCP that came late, twice or broken: a share of the traffic.
    Tcp,
    /// Packets for ports and addresses where nothing listens.
    Closed,
    /// Full buffers and queues: nothing most of the time, then thousands.
    Burst,
    /// Packet filters and policies.
    Policy,
    /// Damaged packets, and shortages.
    Rare,
}

/// The distribution of a family's series. Ranges are log-uniform, and each series draws its own values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Drops a second of the middle series on a middle host.
    pub(super) rate: f64,
    /// Standard deviation of the logarithm of the rate among series.
    pub(super) series_apart: f64,
    /// Standard deviation of the logarithm of the rate of one series among hosts, which persists over days.
    pub(super) hosts_apart: f64,
    /// Shape of the gamma factor of a window, the smaller the more overdispersion.
    pub(super) gamma: (f64, f64),
    /// Share of hosts that have the series at all.
    pub(super) prevalence: (f64, f64),
    /// Chance that a host has none in a window.
    pub(super) idle: f64,
    /// Amplitude of the daily rhythm.
    pub(super) rhythm: f64,
    /// The power of the host's traffic that the rate grows with.
    pub(super) traffic: f64,
}

impl Family {
    pub(super) const fn shape(self) -> Shape {
        match self {
            Self::Noise => Shape {
                rate: 0.05,
                series_apart: 1.2,
                hosts_apart: 0.3,
                gamma: (3.0, 30.0),
                prevalence: (0.8, 1.0),
                idle: 0.0,
                rhythm: 0.1,
                traffic: 0.0,
            },
            Self::Scan => Shape {
                rate: 0.02,
                series_apart: 1.5,
                hosts_apart: 0.8,
                gamma: (0.2, 1.5),
                prevalence: (0.4, 0.9),
                idle: 0.1,
                rhythm: 0.05,
                traffic: 0.0,
            },
            Self::Tcp => Shape {
                rate: 0.1,
                series_apart: 1.6,
                hosts_apart: 0.5,
                gamma: (2.0, 15.0),
                prevalence: (0.8, 1.0),
                idle: 0.0,
                rhythm: 0.6,
                traffic: 1.0,
            },
            Self::Closed => Shape {
                rate: 0.05,
                series_apart: 1.3,
                hosts_apart: 0.7,
                gamma: (1.0, 8.0),
                prevalence: (0.6, 1.0),
                idle: 0.05,
                rhythm: 0.4,
                traffic: 0.5,
            },
            Self::Burst => Shape {
                rate: 0.05,
                series_apart: 1.8,
                hosts_apart: 1.0,
                gamma: (0.03, 0.3),
                prevalence: (0.2, 0.8),
                idle: 0.4,
                rhythm: 0.5,
                traffic: 1.0,
            },
            Self::Policy => Shape {
                rate: 0.1,
                series_apart: 1.8,
                hosts_apart: 0.6,
                gamma: (1.0, 10.0),
                prevalence: (0.3, 0.95),
                idle: 0.05,
                rhythm: 0.3,
                traffic: 0.5,
            },
            Self::Rare => Shape {
                rate: 0.0005,
                series_apart: 1.2,
                hosts_apart: 1.0,
                gamma: (0.2, 1.0),
                prevalence: (0.05, 0.5),
                idle: 0.2,
                rhythm: 0.0,
                traffic: 0.0,
            },
        }
    }
}

/// A region with its own local time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Zone {
    pub(super) name: &'static str,
    /// Hours that the local time is ahead of UTC.
    pub(super) ahead: f64,
    pub(super) share: f64,
}

/// The properties of a kind of fleet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    /// Hosts of a rack: least, most.
    pub(super) rack: (usize, usize),
    /// Number of roles, and how fast they get smaller: the second has a half to the power of the skew.
    pub(super) roles: usize,
    pub(super) role_skew: f64,
    /// Chance that a host has the main role, or the main kernel, of its rack.
    pub(super) main_role: f64,
    pub(super) main_kernel: f64,
    /// Kernel releases and their shares.
    pub(super) kernels: &'static [(&'static str, f64)],
    pub(super) zones: &'static [Zone],
    /// Standard deviations of logarithms: traffic of hosts; of roles, racks and kernels, for each series; of a host on
    /// a day; of a series on a day.
    pub(super) hosts_apart: f64,
    pub(super) roles_apart: f64,
    pub(super) racks_apart: f64,
    pub(super) kernels_apart: f64,
    pub(super) host_day_apart: f64,
    pub(super) series_day_apart: f64,
    /// Factors of [`Shape::hosts_apart`], [`Shape::gamma`] and [`Shape::idle`].
    pub(super) apart_times: f64,
    pub(super) shape_times: f64,
    pub(super) idle_times: f64,
    /// Chance that a role has a series, that it has interfaces of a kind other than the physical, and that a kernel has
    /// a series.
    pub(super) role_has: f64,
    pub(super) role_has_class: f64,
    pub(super) kernel_has: f64,
    /// Share of hosts without a snapshot of a day, and of hosts that restarted within the window.
    pub(super) missing: f64,
    pub(super) restarted: f64,
    /// Roles with a deployment in the window, the number of series that it changes, and by how many times: up or down.
    pub(super) deployments: usize,
    pub(super) deployed_series: usize,
    pub(super) deployed_times: (f64, f64),
}

const WEB: Profile = Profile {
    rack: (40, 40),
    roles: 3,
    role_skew: 1.5,
    main_role: 0.7,
    main_kernel: 0.5,
    kernels: &[("6.1.0-31-amd64", 0.55), ("6.12.43+deb13-amd64", 0.30), ("6.18.5", 0.15)],
    zones: &[Zone { name: "london", ahead: 0.0, share: 0.6 }, Zone { name: "frankfurt", ahead: 1.0, share: 0.4 }],
    hosts_apart: 0.35,
    roles_apart: 0.5,
    racks_apart: 0.4,
    kernels_apart: 0.1,
    host_day_apart: 0.1,
    series_day_apart: 0.1,
    apart_times: 0.6,
    shape_times: 2.0,
    idle_times: 0.3,
    role_has: 0.9,
    role_has_class: 0.85,
    kernel_has: 0.98,
    missing: 0.002,
    restarted: 0.002,
    deployments: 0,
    deployed_series: 0,
    deployed_times: (1.0, 1.0),
};

const MIXED: Profile = Profile {
    rack: (16, 48),
    roles: 40,
    role_skew: 1.1,
    main_role: 0.6,
    main_kernel: 0.5,
    kernels: &[
        ("6.1.0-31-amd64", 0.30),
        ("6.8.0-64-generic", 0.25),
        ("6.6.87", 0.15),
        ("6.12.43+deb13-amd64", 0.12),
        ("6.18.5", 0.10),
        ("6.14.0-27-generic", 0.05),
        ("6.18.44", 0.03),
    ],
    zones: &[
        Zone { name: "virginia", ahead: -5.0, share: 0.30 },
        Zone { name: "oregon", ahead: -8.0, share: 0.15 },
        Zone { name: "frankfurt", ahead: 1.0, share: 0.25 },
        Zone { name: "mumbai", ahead: 5.5, share: 0.10 },
        Zone { name: "singapore", ahead: 8.0, share: 0.12 },
        Zone { name: "sao-paulo", ahead: -3.0, share: 0.08 },
    ],
    hosts_apart: 0.9,
    roles_apart: 1.3,
    racks_apart: 0.8,
    kernels_apart: 0.25,
    host_day_apart: 0.25,
    series_day_apart: 0.15,
    apart_times: 1.2,
    shape_times: 0.6,
    idle_times: 1.5,
    role_has: 0.7,
    role_has_class: 0.5,
    kernel_has: 0.95,
    missing: 0.01,
    restarted: 0.015,
    deployments: 3,
    deployed_series: 6,
    deployed_times: (1.5, 6.0),
};

/// Factors of the faults of single hosts.
pub(super) const HOST_FACTOR: (f64, f64) = (3.0, 10_000.0);
/// Factors of the faults of groups.
pub(super) const GROUP_FACTOR: (f64, f64) = (3.0, 30.0);
/// The fewest drops that a fault is expected to have in the window, on each host.
pub(super) const LEAST_EXPECTED: f64 = 30.0;
/// The most drops that a fault of a host is expected to have: half a million a second.
pub(super) const MOST_EXPECTED: f64 = 3e8;
/// Expected drops of a new reason.
pub(super) const NEW_EXPECTED: (f64, f64) = (30.0, 10_000.0);
/// The excess of a fault has the series' own shape, but at least this one: a fault lasts for the whole window.
pub(super) const FAULT_SHAPE: f64 = 2.0;
/// The share of a group's hosts that must have a series for a fault of the group in it.
pub(super) const GROUP_HAS: f64 = 0.5;
/// A group with a fault is a smaller share of the fleet than this, and has at least so many hosts.
pub(super) const GROUP_SHARE: f64 = 0.5;
/// The fewest hosts of a group with a fault.
pub(super) const GROUP_HOSTS: usize = 8;
/// Faults of 10,000 hosts: of single hosts, new reasons of single hosts, of racks, roles and kernels.
pub(super) const FAULTS: [f64; 5] = [300.0, 60.0, 8.0, 3.0, 2.0];
