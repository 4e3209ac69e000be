//! The policies against which the kernel checks the attributes of a family's requests (`net/netlink/policy.c`).

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};

use super::details::{Details, Operation};
use super::error::Error;
use super::family::NLCTRL;
use super::request::{Connection, Kind, Reply};
use super::wire::{self, Attribute, Malformed};

/// `CTRL_ATTR_…` (`include/uapi/linux/genetlink.h`).
const POLICY: u16 = 8;
const OPERATION_POLICY: u16 = 9;
const POLICY_DO: u16 = 1;
const POLICY_DUMP: u16 = 2;

/// `NL_POLICY_TYPE_ATTR_…` (`include/uapi/linux/netlink.h`).
const TYPE: u16 = 1;
const MIN_SIGNED: u16 = 2;
const MAX_SIGNED: u16 = 3;
const MIN_UNSIGNED: u16 = 4;
const MAX_UNSIGNED: u16 = 5;
const MIN_LENGTH: u16 = 6;
const MAX_LENGTH: u16 = 7;
const NESTED_INDEX: u16 = 8;
const NESTED_MAX: u16 = 9;
const BITFIELD_MASK: u16 = 10;
const MASK: u16 = 12;

/// `enum netlink_attribute_type` (`include/uapi/linux/netlink.h`), from 0.
const TYPES: [&str; 18] = [
    "invalid",
    "flag",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "binary",
    "string",
    "nul-string",
    "nested",
    "nested-array",
    "bitfield32",
    "sint",
    "uint",
];

/// The limits of one attribute. A limit is absent if the kernel does not report it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributePolicy {
    /// The type of the attribute, a number of `enum netlink_attribute_type`.
    pub kind: u32,
    /// The least value of a number.
    pub minimum: Option<i128>,
    /// The greatest value of a number.
    pub maximum: Option<i128>,
    /// The least length in bytes.
    pub minimum_length: Option<u32>,
    /// The greatest length in bytes, for a string without its NUL.
    pub maximum_length: Option<u32>,
    /// The bits that may be set.
    pub mask: Option<u64>,
    /// The index of the policy for nested attributes.
    pub nested: Option<u32>,
    /// The highest number of nested attributes.
    pub nested_maximum: Option<u32>,
}

impl AttributePolicy {
    /// The name of the type as in the kernel's header, in lower case; absent for a type of a newer kernel.
    pub(crate) fn type_name(&self) -> Option<&'static str> {
        TYPES.get(usize::try_from(self.kind).ok()?).copied()
    }

    fn parse(policy: &Attribute<'_>) -> Result<Self, Malformed> {
        let mut parsed = Self::default();
        let signed = |attribute: &Attribute<'_>| attribute.u64().map(|value| Some(value.cast_signed().into()));
        let unsigned = |attribute: &Attribute<'_>| attribute.u64().map(|value| Some(value.into()));
        for attribute in policy.nested() {
            let attribute = attribute?;
            match attribute.kind {
                TYPE => parsed.kind = attribute.u32()?,
                MIN_SIGNED => parsed.minimum = signed(&attribute)?,
                MAX_SIGNED => parsed.maximum = signed(&attribute)?,
                MIN_UNSIGNED => parsed.minimum = unsigned(&attribute)?,
                MAX_UNSIGNED => parsed.maximum = unsigned(&attribute)?,
                MIN_LENGTH => parsed.minimum_length = Some(attribute.u32()?),
                MAX_LENGTH => parsed.maximum_length = Some(attribute.u32()?),
                NESTED_INDEX => parsed.nested = Some(attribute.u32()?),
                NESTED_MAX => parsed.nested_maximum = Some(attribute.u32()?),
                BITFIELD_MASK => parsed.mask = Some(attribute.u32()?.into()),
                MASK => parsed.mask = Some(attribute.u64()?),
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// The limits of a request's attributes, or of an attribute's nested attributes, by number. The kernel refuses all
/// others.
pub type Policy = BTreeMap<u16, AttributePolicy>;

/// The indices of an operation's policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// The policy for single requests.
    pub does: Option<u32>,
    /// The policy for lists.
    pub dumps: Option<u32>,
}

/// All policies of a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    operations: BTreeMap<u32, Roots>,
    /// The policies of operations that the kernel reports with the number 0, in the kernel's order.
    unnumbered: Vec<Roots>,
    by_index: BTreeMap<u32, Policy>,
}

/// A step of [`Policies::walk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'p> {
    /// An attribute, with its depth and its number.
    Attribute(usize, u16, &'p AttributePolicy),
    /// The depth and the index of the policy for the attributes nested in the previous attribute, if that policy was
    /// shown before or is too deep.
    Elsewhere(usize, u32),
}

/// The greatest depth of nested attributes, which is more than any family has.
const DEPTH: usize = 16;

impl Policies {
    /// Requests a family's policies, which needs no capability. Returns `None` if the kernel does not report them
    /// (before 5.7).
    pub async fn of(connection: &mut Connection, family: &Details) -> Result<Option<Self>, Error> {
        let request = GenlCtrl { cmd: GenlCtrlCmd::GetPolicy, nlas: vec![GenlCtrlAttrs::FamilyId(family.family.id)] };
        let what = "the policies of a generic netlink family (CTRL_CMD_GETPOLICY)";
        let mut policies = Self::default();
        match connection.call(what, NLCTRL, request, Kind::Dump, |reply| policies.take(&reply)).await {
            Ok(()) => {
                policies.number(&family.operations);
                Ok(Some(policies))
            }
            Err(error) => match error.errno() {
                Some(libc::ENODATA) => Ok(Some(Self::default())),
                Some(libc::EOPNOTSUPP) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// The policies of an operation. Kernels before 5.10 have one for the whole family.
    pub fn roots(&self, operation: Operation) -> Roots {
        let none_is_reported = self.operations.is_empty() && self.unnumbered.is_empty();
        if none_is_reported && operation.has_policy() && !self.by_index.is_empty() {
            let first = |is_so: bool| is_so.then_some(0);
            return Roots { does: first(operation.does()), dumps: first(operation.dumps()) };
        }
        self.operations.get(&operation.number).copied().unwrap_or_default()
    }

    /// The policy of the attribute with this number, if all operations that know the number agree on its type.
    ///
    /// Policies are for requests. Messages that the kernel sends of its own accord have none, but mostly use the same
    /// numbers.
    pub(crate) fn agreed(&self, number: u16) -> Option<&AttributePolicy> {
        let roots = self.operations.values().chain(&self.unnumbered).flat_map(|roots| [roots.does, roots.dumps]);
        // Kernels before 5.10 have one policy for the whole family.
        let first = self.operations.is_empty().then_some(0);
        let mut found = roots.flatten().chain(first).filter_map(|root| self.within(root, number));
        let one = found.next()?;
        found.all(|other| other.kind == one.kind && other.nested == one.nested).then_some(one)
    }

    /// The policy of a nested attribute.
    pub fn within(&self, index: u32, number: u16) -> Option<&AttributePolicy> {
        self.by_index.get(&index)?.get(&number)
    }

    /// All policies by index, also nested ones. A policy without any attribute is not included.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Policy)> {
        self.by_index.iter().map(|(index, policy)| (*index, policy))
    }

    /// Passes each attribute of a policy to `visit`, followed by the nested attributes. A policy that repeats is passed
    /// only once.
    pub fn walk<E>(&self, root: u32, mut visit: impl FnMut(Step<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut walked = BTreeSet::from([root]);
        self.walk_within(root, 0, &mut walked, &mut visit)
    }

    fn walk_within<E>(
        &self,
        index: u32,
        depth: usize,
        walked: &mut BTreeSet<u32>,
        visit: &mut impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (number, attribute) in self.by_index.get(&index).into_iter().flatten() {
            visit(Step::Attribute(depth, *number, attribute))?;
            match attribute.nested {
                Some(nested) if depth + 1 < DEPTH && walked.insert(nested) => {
                    self.walk_within(nested, depth + 1, walked, visit)?;
                }
                Some(nested) => visit(Step::Elsewhere(depth + 1, nested))?,
                None => {}
            }
        }
        Ok(())
    }

    /// Assigns numbers to operations that the kernel reports without their number, after the answer is complete.
    ///
    /// Since 6.2 the kernel reports 0 for operations that can only list (`ctrl_dumppolicy_put_op` uses the number of
    /// the absent single request). It reports them in the same order as in the family's list of operations. Some
    /// families have an operation with the number 0, such as `wireguard`.
    pub fn number(&mut self, operations: &[Operation]) {
        let may_be_zero = |operation: &&Operation| {
            operation.has_policy()
                && (operation.number == 0 || !operation.does())
                && !self.operations.contains_key(&operation.number)
        };
        let candidates: Vec<_> = operations.iter().filter(may_be_zero).map(|operation| operation.number).collect();
        if candidates.len() == self.unnumbered.len() {
            self.operations.extend(candidates.into_iter().zip(self.unnumbered.drain(..)));
        } else if self.unnumbered.len() == 1 && candidates.contains(&0) {
            // Before 6.2 the kernel does not report the other operations here, because it does not check the attributes
            // of their lists.
            self.operations.extend(self.unnumbered.pop().map(|roots| (0, roots)));
        }
    }

    /// Adds a part of the controller's answer.
    pub fn take(&mut self, reply: &Reply<'_>) -> Result<(), Malformed> {
        for attribute in wire::attributes(reply.attributes) {
            let attribute = attribute?;
            match attribute.kind {
                POLICY => self.take_policies(&attribute)?,
                OPERATION_POLICY => self.take_operations(&attribute)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds the policies of a message, which has a part of a policy.
    fn take_policies(&mut self, policies: &Attribute<'_>) -> Result<(), Malformed> {
        for policy in policies.nested() {
            let policy = policy?;
            for attribute in policy.nested() {
                let attribute = attribute?;
                let parsed = AttributePolicy::parse(&attribute)?;
                self.by_index.entry(policy.kind.into()).or_default().insert(attribute.kind, parsed);
            }
        }
        Ok(())
    }

    fn take_operations(&mut self, operations: &Attribute<'_>) -> Result<(), Malformed> {
        for operation in operations.nested() {
            let operation = operation?;
            let mut roots = Roots::default();
            for attribute in operation.nested() {
                let attribute = attribute?;
                match attribute.kind {
                    POLICY_DO => roots.does = Some(attribute.u32()?),
                    POLICY_DUMP => roots.dumps = Some(attribute.u32()?),
                    _ => {}
                }
            }
            match operation.kind {
                0 => self.unnumbered.push(roots),
                number => _ = self.operations.insert(number.into(), roots),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
