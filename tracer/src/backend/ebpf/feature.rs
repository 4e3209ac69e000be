//! Features of this kernel's verifier, found by loading programs of a few instructions, never by version.

use std::io;

use aya_obj::generated::bpf_insn;
use tracer_common::{BYTES_CAST, BYTES_NONE, BYTES_PROBE, READ_CAST, READ_PLAIN, TypeIds};

use super::sys;
use crate::kernel::btf::KernelBtf;

/// How the kernel program reads memory on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// BTF id of `bpf_rdonly_cast`, where programs may call it.
    pub(super) rdonly_cast: Option<u32>,
    /// The type numbers that casts use.
    pub(super) types: TypeIds,
    /// The kernel lets programs call `bpf_probe_read_kernel`; false under `lockdown=confidentiality`.
    pub(super) may_probe: bool,
    /// The verifier distinguishes trusted pointers; loads through them are not fault-tolerant.
    pub(super) trusts_pointers: bool,
    /// Loads of a program's first function may fault although the program has other functions. Before commit 0108a4e9f358
    /// (Linux 6.4, 6.1.37) such a fault ends the host. A fault cannot be tried, so this is known only of kernels whose
    /// verifier knows an instruction that is younger than the commit, the long jump of Linux 6.6 (commit 4cd58e9af8b9).
    pub(super) first_function_may_fault: bool,
}

impl Features {
    /// Asks the kernel: loads a program and closes it. BTF shows whether pointers are trusted, because it has a kind of
    /// its own for the types that the verifier distinguishes there.
    pub(super) fn ask(btf: &KernelBtf, may_probe: bool) -> Self {
        let id = |name| btf.structure_id(name).unwrap_or(0);
        let types = TypeIds {
            sk_buff: id("sk_buff"),
            net_device: id("net_device"),
            sock: id("sock"),
            in6_addr: id("in6_addr"),
        };
        let TypeIds { sk_buff, net_device, sock, in6_addr } = types;
        let has_types = [sk_buff, net_device, sock, in6_addr].iter().all(|id| *id != 0);
        let function = btf.function_id("bpf_rdonly_cast").filter(|_| has_types);
        Self {
            rdonly_cast: function.filter(|id| !is_refusal_of_cast(takes_cast(*id, types.in6_addr))),
            types,
            may_probe,
            trusts_pointers: btf.trusts_pointers(),
            first_function_may_fault: takes_long_jump().is_ok(),
        }
    }

    /// One of the `READ_*` values: how the program attached as `tp_btf` reads memory beyond the `sk_buff`; absent where
    /// no safe way exists.
    pub(super) const fn reads(&self) -> Option<u32> {
        if self.rdonly_cast.is_some() {
            Some(READ_CAST)
        } else if !self.trusts_pointers {
            Some(READ_PLAIN)
        } else {
            None
        }
    }

    /// One of the `BYTES_*` values: how the program reads bytes of packets.
    pub(super) const fn bytes(&self) -> u32 {
        if self.may_probe {
            BYTES_PROBE
        } else if self.rdonly_cast.is_some() {
            BYTES_CAST
        } else {
            BYTES_NONE
        }
    }
}

/// Whether the answer says that programs may not call the function. If a policy refused the program, as a container's seccomp filter
/// does, that is unknown: then the droptrace programs are refused as well, and that error has the true cause.
fn is_refusal_of_cast(answer: io::Result<()>) -> bool {
    answer.is_err_and(|error| error.raw_os_error() != Some(libc::EPERM))
}

/// Loads `bpf_rdonly_cast(0, in6_addr)` and a load of eight bytes through the result.
fn takes_cast(function: u32, in6_addr: u32) -> io::Result<()> {
    let program = [
        instruction(0xb7, 1, 0, 0),
        instruction(0xb7, 2, 0, in6_addr),
        instruction(0x85, 0, 2, function),
        instruction(0x79, 1, 0, 0),
        instruction(0xb7, 0, 0, 0),
        instruction(0x95, 0, 0, 0),
    ];
    let program = sys::NewProgram { name: c"asks_for_cast", license: c"GPL", instructions: &program, typed: None };
    sys::load_program(&program, None).map(drop)
}

/// Loads a jump to the next instruction whose distance has 32 bits (`BPF_JMP32 | BPF_JA`).
fn takes_long_jump() -> io::Result<()> {
    let program = [instruction(0x06, 0, 0, 0), instruction(0xb7, 0, 0, 0), instruction(0x95, 0, 0, 0)];
    let program = sys::NewProgram { name: c"asks_for_jump", license: c"GPL", instructions: &program, typed: None };
    sys::load_program(&program, None).map(drop)
}

/// An instruction without an offset.
fn instruction(code: u8, destination: u8, source: u8, immediate: u32) -> bpf_insn {
    bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(destination, source),
        off: 0,
        imm: immediate.cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Features = Features {
        rdonly_cast: None,
        types: TypeIds { sk_buff: 0, net_device: 0, sock: 0, in6_addr: 0 },
        may_probe: false,
        trusts_pointers: true,
        first_function_may_fault: false,
    };

    #[test]
    fn no_plain_load_goes_through_a_trusted_pointer() {
        assert_eq!(NOTHING.reads(), None);
        assert_eq!(Features { may_probe: true, ..NOTHING }.reads(), None);
        assert_eq!(Features { rdonly_cast: Some(1), ..NOTHING }.reads(), Some(READ_CAST));
        assert_eq!(Features { trusts_pointers: false, ..NOTHING }.reads(), Some(READ_PLAIN));
        assert_eq!(Features { trusts_pointers: false, may_probe: true, ..NOTHING }.reads(), Some(READ_PLAIN));
    }

    #[test]
    fn refused_system_call_says_nothing_about_the_verifier() {
        let error = |number| Err(io::Error::from_raw_os_error(number));
        assert!(is_refusal_of_cast(error(libc::EACCES)) && is_refusal_of_cast(error(libc::EINVAL)));
        assert!(!is_refusal_of_cast(error(libc::EPERM)) && !is_refusal_of_cast(Ok(())));
    }

    #[test]
    fn bytes_are_read_under_lockdown_where_casts_are_there() {
        assert_eq!(NOTHING.bytes(), BYTES_NONE);
        assert_eq!(Features { rdonly_cast: Some(1), ..NOTHING }.bytes(), BYTES_CAST);
        assert_eq!(Features { rdonly_cast: Some(1), may_probe: true, ..NOTHING }.bytes(), BYTES_PROBE);
    }
}
