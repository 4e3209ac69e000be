//! The expressions of droptrace's own rules (`enum nft_*_attributes`, `include/uapi/linux/netfilter/nf_tables.h`).

use super::attributes::Body;

/// `NFT_REG_1`.
const REGISTER: u32 = 1;
/// `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;
/// `NFTA_LIST_ELEM`.
const ELEMENT: u16 = 1;
/// `NFTA_DATA_VALUE` and `NFTA_DATA_VERDICT`.
const VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// `NF_ACCEPT` and `NFT_GOTO`.
const ACCEPT: u32 = 1;
const GOTO: u32 = (-4_i32).cast_unsigned();

/// Keys of `meta` (`enum nft_meta_keys`).
pub(super) const NFTRACE: u32 = 12;
pub(super) const NFPROTO: u32 = 15;
pub(super) const L4PROTO: u32 = 16;

/// Where an offset in a packet counts from (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Network = 1,
    Transport = 2,
}

/// How two values compare (`enum nft_cmp_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal = 0,
    Unequal = 1,
    AtMost = 3,
    AtLeast = 5,
}

/// A list of expressions.
#[derive(Clone, Debug)]
pub(super) struct Expressions(Body);

impl Expressions {
    pub(super) const fn new() -> Self {
        Self(Body::nested())
    }

    fn with(self, name: &str, data: &Body) -> Self {
        Self(self.0.within(ELEMENT, &Body::nested().text(1, name).within(2, data)))
    }

    /// Loads a fact about the packet.
    pub(super) fn meta(self, key: u32) -> Self {
        self.with("meta", &Body::nested().number(2, key).number(1, REGISTER))
    }

    /// Loads bytes of the packet.
    pub(super) fn payload(self, base: Base, offset: u32, length: u32) -> Self {
        let data = Body::nested().number(1, REGISTER).number(2, base as u32).number(3, offset).number(4, length);
        self.with("payload", &data)
    }

    /// Keeps the loaded bits that `mask` has.
    pub(super) fn mask(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).unwrap_or_default();
        let registers = Body::nested().number(1, REGISTER).number(2, REGISTER).number(3, length);
        let zeros = Body::nested().bytes(VALUE, &vec![0; mask.len()]);
        self.with("bitwise", &registers.within(4, &Body::nested().bytes(VALUE, mask)).within(5, &zeros))
    }

    /// Ends the rule unless the loaded value compares so.
    pub(super) fn compare(self, comparison: Comparison, value: &[u8]) -> Self {
        let data = Body::nested().number(1, REGISTER).number(2, comparison as u32);
        self.with("cmp", &data.within(3, &Body::nested().bytes(VALUE, value)))
    }

    pub(super) fn counter(self) -> Self {
        self.with("counter", &Body::nested().long(1, 0).long(2, 0))
    }

    /// Ends the rule for packets beyond `per_second`, and lets as many pass at once.
    pub(super) fn limit(self, per_second: u32) -> Self {
        let data = Body::nested().long(1, per_second.into()).long(2, 1);
        self.with("limit", &data.number(3, per_second).number(4, 0).number(5, 0))
    }

    /// Sets `nftrace` of the packet: the kernel reports each rule that the packet meets from here on.
    pub(super) fn set_trace(self) -> Self {
        let one = Body::nested().bytes(VALUE, &[1]);
        self.with("immediate", &Body::nested().number(1, REGISTER).within(2, &one))
            .with("meta", &Body::nested().number(2, NFTRACE).number(3, REGISTER))
    }

    /// Ends the base chain: the packet goes on to the next base chain, of whichever table.
    pub(super) fn accept(self) -> Self {
        self.verdict(&Body::nested().number(1, ACCEPT))
    }

    pub(super) fn goto(self, chain: &str) -> Self {
        self.verdict(&Body::nested().number(1, GOTO).text(2, chain))
    }

    fn verdict(self, verdict: &Body) -> Self {
        let data = Body::nested().within(DATA_VERDICT, verdict);
        self.with("immediate", &Body::nested().number(1, VERDICT).within(2, &data))
    }

    pub(super) fn body(&self) -> &Body {
        &self.0
    }
}
