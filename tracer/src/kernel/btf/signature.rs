//! Which arguments this kernel's tracepoint `kfree_skb` has.

use btf_rs::{BtfType, FuncProto, Type};

use super::{BtfError, KernelBtf};

/// `__data`, `skb`, `location`, `reason`, `rx_sk`: what stands behind them is none of ours.
const PARAMETERS: usize = 5;

/// The tracepoint's arguments beyond `skb` and `location` (`include/trace/events/skb.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KfreeSkb {
    /// The third is `enum skb_drop_reason reason` (5.17 and later, and backports).
    pub has_reason: bool,
    /// The fourth is `struct sock *rx_sk` (6.11 and later, and backports); it may be NULL.
    pub has_rx_sk: bool,
}

impl KernelBtf {
    /// The arguments of `kfree_skb`, by the types of the parameters of the typedef `btf_trace_kfree_skb`: parameters
    /// have no names there. An argument of another type than expected counts as missing.
    pub fn tracepoint(&self) -> Result<KfreeSkb, BtfError> {
        let parameters: Vec<Option<Type>> = self
            .tracepoint_prototype()?
            .parameters
            .iter()
            .take(PARAMETERS)
            .map(|parameter| parameter.get_type_id().and_then(|id| self.plain_type(id)))
            .collect();
        let parameter = |at: usize| parameters.get(at).and_then(Option::as_ref);
        if !self.points_to(parameter(1), "sk_buff") {
            return Err(BtfError::Tracepoint("its first argument is not a struct sk_buff".into()));
        }
        if !matches!(parameter(2), Some(Type::Ptr(_))) {
            return Err(BtfError::Tracepoint("its second argument is not an address".into()));
        }
        let has_reason = parameter(3).is_some_and(|found| self.is_reason(found));
        Ok(KfreeSkb { has_reason, has_rx_sk: has_reason && self.points_to(parameter(4), "sock") })
    }

    fn tracepoint_prototype(&self) -> Result<FuncProto, BtfError> {
        let types = self.btf.resolve_types_by_name("btf_trace_kfree_skb")?;
        let typedef = types.iter().find_map(|found| match found {
            Type::Typedef(found) => found.get_type_id(),
            _ => None,
        });
        let typedef = typedef.ok_or_else(|| {
            BtfError::Tracepoint("its type information does not have the typedef btf_trace_kfree_skb".into())
        })?;
        let pointed = match self.plain_type(typedef) {
            Some(Type::Ptr(pointer)) => pointer.get_type_id().and_then(|id| self.plain_type(id)),
            _ => None,
        };
        match pointed {
            Some(Type::FuncProto(prototype)) => Ok(prototype),
            _ => Err(BtfError::Tracepoint("btf_trace_kfree_skb is not a pointer to a function".into())),
        }
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

    fn is_reason(&self, found: &Type) -> bool {
        let name = match found {
            Type::Enum(reason) if reason.size() == 4 => self.btf.resolve_name(reason),
            _ => return false,
        };
        name.is_ok_and(|name| name == "skb_drop_reason")
    }
}
