//! The arguments of this kernel's tracepoints.

use btf_rs::{BtfType, FuncProto, Type};

use super::{BtfError, KernelBtf};

/// The greatest number of parameters that are read: `__data` and five arguments. droptrace uses none of the later ones.
const PARAMETERS: usize = 6;

/// The arguments of the tracepoint `kfree_skb` beyond `skb` and `location` (`include/trace/events/skb.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KfreeSkb {
    /// The third argument is `enum skb_drop_reason reason` (5.17 and later, and backports).
    pub has_reason: bool,
    /// The fourth argument is `struct sock *rx_sk` (6.11 and later, and backports). The pointer may be NULL.
    pub has_rx_sk: bool,
}

/// When the tracepoint `udp_fail_queue_rcv_skb` (`include/trace/events/udp.h`) reports a packet that UDP cannot queue, and
/// the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpFailure {
    /// Before the kernel frees the packet, with the arguments `rc`, `sk` and `skb` (6.10 and later).
    BeforeFree,
    /// After the kernel freed the packet, with the arguments `rc` and `sk`.
    AfterFree,
}

/// The type that an argument of a tracepoint must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Any type: the argument is not used.
    Any,
    /// An integer of any size.
    Integer,
    /// An integer of any size, or no argument.
    OptionalInteger,
    /// An address of anything.
    Pointer,
    /// An address of a structure of this name.
    Struct(&'static str),
    /// An enumeration of this name, of four bytes.
    Enum(&'static str),
}

impl KernelBtf {
    /// The arguments of `kfree_skb`, found from the parameter types of the typedef `btf_trace_kfree_skb`, whose
    /// parameters have no names. An argument of another type than expected counts as missing.
    pub fn tracepoint(&self) -> Result<KfreeSkb, BtfError> {
        let parameters = self.tracepoint_parameters("kfree_skb").map_err(BtfError::Tracepoint)?;
        let parameter = |at: usize| parameters.get(at).and_then(Option::as_ref);
        if !self.points_to(parameter(1), "sk_buff") {
            return Err(BtfError::Tracepoint("its first argument is not a struct sk_buff".into()));
        }
        if !matches!(parameter(2), Some(Type::Ptr(_))) {
            return Err(BtfError::Tracepoint("its second argument is not an address".into()));
        }
        let has_reason = parameter(3).is_some_and(|found| self.is_enum(found, "skb_drop_reason"));
        Ok(KfreeSkb { has_reason, has_rx_sk: has_reason && self.points_to(parameter(4), "sock") })
    }

    /// Returns whether the kernel has the tracepoint `name` with these arguments. Further arguments do not matter, and may
    /// be missing.
    pub fn has_tracepoint(&self, name: &str, arguments: &[Argument]) -> bool {
        // The first parameter is not an argument.
        self.tracepoint_parameters(name).is_ok_and(|found| self.are(arguments, found.get(1..).unwrap_or_default()))
    }

    /// The type id of the function `name` if it has these arguments. Further arguments do not matter.
    pub(crate) fn function_with(&self, name: &str, arguments: &[Argument]) -> Option<u32> {
        let id = self.function_id(name)?;
        let Type::Func(function) = self.btf.resolve_type_by_id(id).ok()? else { return None };
        let Type::FuncProto(prototype) = self.btf.resolve_type_by_id(function.get_type_id()?).ok()? else {
            return None;
        };
        self.are(arguments, &self.parameters_of(&prototype)).then_some(id)
    }

    fn are(&self, arguments: &[Argument], parameters: &[Option<Type>]) -> bool {
        arguments.iter().enumerate().all(|(at, expected)| match (expected, parameters.get(at)) {
            (Argument::Any, _) | (Argument::OptionalInteger, None) => true,
            (_, None | Some(None)) => false,
            (Argument::Integer | Argument::OptionalInteger, Some(Some(found))) => matches!(found, Type::Int(_)),
            (Argument::Pointer, Some(Some(found))) => matches!(found, Type::Ptr(_)),
            (Argument::Enum(name), Some(Some(found))) => self.is_enum(found, name),
            (Argument::Struct(name), Some(found)) => self.points_to(found.as_ref(), name),
        })
    }

    /// When the kernel reports the socket of a packet that UDP cannot queue; absent if it has no such tracepoint.
    pub fn udp_failure(&self) -> Option<UdpFailure> {
        let parameters = self.tracepoint_parameters("udp_fail_queue_rcv_skb").ok()?;
        let parameter = |at: usize| parameters.get(at).and_then(Option::as_ref);
        if !matches!(parameter(1), Some(Type::Int(_))) || !self.points_to(parameter(2), "sock") {
            return None;
        }
        match parameter(3) {
            None => Some(UdpFailure::AfterFree),
            skb => self.points_to(skb, "sk_buff").then_some(UdpFailure::BeforeFree),
        }
    }

    /// The id of the typedef that identifies the tracepoint to a BPF program with typed arguments.
    pub(crate) fn tracepoint_id(&self, name: &str) -> Result<u32, BtfError> {
        let id = self.id_of(&format!("btf_trace_{name}"), |found| matches!(found, Type::Typedef(_)));
        id.ok_or_else(|| {
            BtfError::Tracepoint(format!("its type information does not have the typedef btf_trace_{name}"))
        })
    }

    /// The types of a tracepoint's parameters; the first parameter is not an argument. The error names the missing
    /// part.
    fn tracepoint_parameters(&self, name: &str) -> Result<Vec<Option<Type>>, String> {
        let name = format!("btf_trace_{name}");
        let types = self.types_of(&name);
        let typedef = types.iter().find_map(|found| match found {
            Type::Typedef(found) => found.get_type_id(),
            _ => None,
        });
        let typedef = typedef.ok_or_else(|| format!("its type information does not have the typedef {name}"))?;
        let pointed = match self.plain_type(typedef) {
            Some(Type::Ptr(pointer)) => pointer.get_type_id().and_then(|id| self.plain_type(id)),
            _ => None,
        };
        let Some(Type::FuncProto(prototype)) = pointed else {
            return Err(format!("{name} is not a pointer to a function"));
        };
        Ok(self.parameters_of(&prototype))
    }

    fn parameters_of(&self, prototype: &FuncProto) -> Vec<Option<Type>> {
        let parameters = prototype.parameters.iter().take(PARAMETERS);
        parameters.map(|parameter| parameter.get_type_id().and_then(|id| self.plain_type(id))).collect()
    }

    fn points_to(&self, found: Option<&Type>, structure: &str) -> bool {
        let Some(Type::Ptr(pointer)) = found else { return false };
        let name = match pointer.get_type_id().and_then(|id| self.plain_type(id)) {
            Some(Type::Struct(target)) => self.btf.resolve_name(&target),
            Some(Type::Fwd(target)) => self.btf.resolve_name(&target),
            _ => return false,
        };
        name.is_ok_and(|name| name == structure)
    }

    fn is_enum(&self, found: &Type, name: &str) -> bool {
        let found = match found {
            Type::Enum(found) if found.size() == 4 => self.btf.resolve_name(found),
            _ => return false,
        };
        found.is_ok_and(|found| found == name)
    }
}
