//! The programs on `tcp_conn_request`, which count the SYNs that listening sockets refuse.

use std::io;
use std::os::fd::OwnedFd;

use tracer_common::{ABSENT, Config, Offsets, RefusedSyn, SynState};
use zerocopy::FromBytes;

use super::Error;
use super::loader::{Attachment, Loader, Program};
use super::sys::RawMap;
use crate::domain::unavailable::Unavailable;
use crate::kernel::btf::Argument::{Any, Struct};
use crate::kernel::btf::KernelBtf;

/// The function that answers a SYN (`net/ipv4/tcp_input.c`).
const FUNCTION: &str = "tcp_conn_request";
/// The maps, and the number of their keys. `stat` must keep to its bound of kernel memory with them.
pub(super) const ROOMS: [(&str, u32); 2] = [("REFUSED", 4_096), ("REFUSED_OTHERS", 512)];
/// Part of the version of kernels for real time (`uname -v`; `init/Makefile`, before 6.1 `scripts/mkcompile_h`).
const REALTIME: &str = "PREEMPT_RT";
/// The remedy where the kernel refuses the programs, which it calls through a trampoline.
const REMEDY: &str = "this needs a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS (on aarch64 from Linux 6.4 on) \
                      and no security module that refuses them";
/// TCP's counters, as the program reads them.
const COUNTERS: [&str; 3] = ["LINUX_MIB_LISTENDROPS", "LINUX_MIB_LISTENOVERFLOWS", "LINUX_MIB_TCPREQQFULLDROP"];

/// Writes the offsets of TCP's counters, as far as this kernel has them.
pub(super) fn write_offsets(btf: &KernelBtf, offsets: &mut Offsets) {
    if let Some([refused, accept_queue, syn_queue]) = btf.tcp_counters(COUNTERS) {
        offsets.mib_listen_drops = refused;
        offsets.mib_listen_overflows = accept_queue;
        offsets.mib_syn_queue_full = syn_queue;
    }
}

/// The BTF id of the function, if refused SYNs can be counted.
fn function(btf: &KernelBtf, config: &Config) -> Result<u32, Unavailable> {
    let Offsets { net_statistics, mib_listen_drops, array_pptrs, sock_net, net_inum, .. } = config.offsets;
    let Offsets { sock_family, sock_source, sock_source_v6, sock_port, .. } = config.offsets;
    let counters = [net_statistics, mib_listen_drops, array_pptrs];
    let socket = [sock_net, net_inum, sock_family, sock_source, sock_source_v6, sock_port];
    if config.may_probe == 0 {
        return Err(Unavailable::because("the kernel is locked down (confidentiality)"));
    }
    if rustix::system::uname().version().to_string_lossy().contains(REALTIME) {
        // Another task could add to a CPU's counters while one answers a SYN there.
        return Err(Unavailable::because("the kernel is one for real time (PREEMPT_RT)"));
    }
    if counters.contains(&ABSENT) || socket.contains(&ABSENT) {
        return Err(Unavailable::because("the kernel does not have the expected counters and fields of TCP"));
    }
    let function = btf.function_with(FUNCTION, &[Any, Any, Struct("sock"), Struct("sk_buff")]);
    function.ok_or_else(|| {
        Unavailable::because(format!("the kernel does not have the function {FUNCTION} with the expected arguments"))
    })
}

/// The number of refused SYNs with each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedCounts {
    /// By key. The source is 0 in the sum of the sources that found no room.
    pub rows: Vec<(RefusedSyn, u64)>,
    /// All of them: the sum of the rows, `without_room` and `filtered` once the numbers are final.
    pub refused: u64,
    /// Those for which there was no room.
    pub without_room: u64,
    /// Those of other network namespaces than the wanted one.
    pub filtered: u64,
}

/// The attached programs, and what they count.
pub(super) struct RefusedSyns {
    /// In the order of detaching: each exit that is counted has an entry.
    links: Vec<OwnedFd>,
    /// The programs, whose counts outlive their links.
    _programs: [Program; 2],
    rows: [RawMap; 2],
    state: RawMap,
    /// The only namespace of which there are rows, as [`RefusedSyn::netns`]; 0 for all.
    wanted: u64,
}

impl RefusedSyns {
    /// Attaches the programs, or says why they cannot be. SYNs are counted from then on.
    pub(super) fn attach(
        loader: &Loader,
        btf: &KernelBtf,
        config: &Config,
        cpus: usize,
        wanted: u64,
    ) -> Result<Self, Unavailable> {
        let function = function(btf, config)?;
        Self::attach_to(loader, function, cpus, wanted)
            .map_err(|error| Unavailable { remedy: Some(REMEDY.into()), ..Unavailable::of(&error) })
    }

    fn attach_to(loader: &Loader, function: u32, cpus: usize, wanted: u64) -> Result<Self, Error> {
        let programs = [
            loader.load("syn_received", Attachment::Entry(function))?,
            loader.load("syn_answered", Attachment::Exit(function))?,
        ];
        let open = |(name, _)| Ok::<_, Error>(RawMap::new(loader.map_fd(name)?, size_of::<RefusedSyn>(), 8));
        let [rows, others] = ROOMS.map(open);
        let rows = [rows?, others?];
        let state = RawMap::new(loader.map_fd("SYN")?, size_of::<u32>(), size_of::<SynState>() * cpus);
        let [received, answered] = &programs;
        let received = received.attach(FUNCTION)?;
        let links = vec![answered.attach(FUNCTION)?, received];
        Ok(Self { links, _programs: programs, rows, state, wanted })
    }

    /// Detaches the programs. After a grace period the counts are final.
    pub(super) fn detach(&mut self) {
        self.links.drain(..).for_each(drop);
    }

    /// The counts so far.
    pub(super) fn read(&self) -> io::Result<RefusedCounts> {
        let mut states = vec![0; self.state.value_size()];
        self.state.lookup(&0_u32.to_ne_bytes(), &mut states)?;
        let states = states.chunks_exact(size_of::<SynState>()).filter_map(|one| SynState::read_from_bytes(one).ok());
        let mut counts = RefusedCounts::default();
        for state in states {
            counts.refused += state.refused;
            counts.without_room += state.without_room;
        }
        for map in &self.rows {
            map.each(|key, value| {
                if let (Ok(key), Ok(packets)) = (RefusedSyn::read_from_bytes(key), u64::read_from_bytes(value)) {
                    if self.wanted == 0 || self.wanted == key.netns {
                        counts.rows.push((key, packets));
                    } else {
                        counts.filtered += packets;
                    }
                }
            })?;
        }
        Ok(counts)
    }
}
