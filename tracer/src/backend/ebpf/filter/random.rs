//! Random code of filters, random conditions and random packets, for tests.

use rand::{RngExt, SeedableRng};
use rand_xorshift::XorShiftRng;
use tracer_common::{CpuState, DropFacts, DropKey, PacketView, VLAN_PRESENT};
use zerocopy::FromZeros;

use super::condition::{Condition, Fact, Numbers};
use super::machine::PACKET_AT;
use crate::filter::code::{Base, Comparison, MEMORY, Number, Op, Operand, Operation, Size};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Questions of each filter.
pub(super) const QUESTIONS: u16 = 6;

/// A source of random filters; the same in each run.
pub(super) struct Random(XorShiftRng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(XorShiftRng::seed_from_u64(seed))
    }

    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())]
    }

    /// Valid code of so many instructions.
    pub(super) fn code(&mut self, length: u16) -> Vec<Op> {
        let ops = (0..length - 1).map(|at| self.op(length - 2 - at));
        let mut code: Vec<Op> = ops.collect();
        code.push(Op::Return(self.0.random()));
        code
    }

    /// An instruction that `after` others, and a last one, follow.
    fn op(&mut self, after: u16) -> Op {
        match self.below(16) {
            0..=4 => Op::Load {
                base: self.one(&[Base::Link, Base::Network, Base::Network]),
                size: self.one(&[Size::Byte, Size::Half, Size::Word]),
                indexed: self.below(3) == 0,
                offset: self.offset(),
            },
            5 => Op::Number(self.one(&[Number::Length, Number::Protocol, Number::VlanTag])),
            6 => Op::Constant(self.number()),
            7 => Op::Store(self.word()),
            8 => Op::Recall(self.word()),
            9 => Op::ToX,
            10 => Op::FromX,
            11 | 12 => self.computation(),
            13 | 14 => Op::Jump {
                comparison: self.one(&[
                    Comparison::Equal,
                    Comparison::Greater,
                    Comparison::GreaterOrEqual,
                    Comparison::AnyBit,
                ]),
                operand: self.operand(),
                then: self.skipped(after),
                otherwise: self.skipped(after),
            },
            _ if self.below(8) == 0 => Op::Return(self.0.random()),
            _ => {
                let question = self.0.random_range(0..QUESTIONS);
                Op::Test { question, then: self.skipped(after), otherwise: self.skipped(after) }
            }
        }
    }

    fn computation(&mut self) -> Op {
        let operation = self.one(&[
            Operation::Add,
            Operation::Subtract,
            Operation::Multiply,
            Operation::Divide,
            Operation::Modulo,
            Operation::And,
            Operation::Or,
            Operation::Xor,
            Operation::ShiftLeft,
            Operation::ShiftRight,
        ]);
        Op::Compute(operation, self.operand())
    }

    fn operand(&mut self) -> Operand {
        if self.below(3) == 0 { Operand::X } else { Operand::Constant(self.number()) }
    }

    fn number(&mut self) -> u32 {
        match self.below(4) {
            0 => self.0.random(),
            1 => self.one(&[0, 1, 31, 32, 33, 64, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
            _ => self.below(80),
        }
    }

    fn offset(&mut self) -> u32 {
        match self.below(24) {
            0 => self.one(&[0x7fff_fffb, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
            _ => self.below(60),
        }
    }

    fn word(&mut self) -> u8 {
        self.0.random_range(0..u8::try_from(MEMORY).unwrap())
    }

    fn skipped(&mut self, after: u16) -> u16 {
        self.0.random_range(0..=after.min(6))
    }

    /// Answers to the questions of a filter.
    pub(super) fn conditions(&mut self) -> Vec<Condition> {
        (0..QUESTIONS).map(|_| self.condition()).collect()
    }

    fn condition(&mut self) -> Condition {
        let mut condition = Condition::NEVER;
        for _ in 0..self.below(4) {
            let checks = (0..=self.below(2)).map(|_| self.check()).collect();
            condition = condition.or(checks);
        }
        condition
    }

    fn check(&mut self) -> (Fact, Numbers) {
        let facts = [
            Fact::Location,
            Fact::Netns,
            Fact::Cgroup,
            Fact::Interface,
            Fact::Reason,
            Fact::Kind,
            Fact::InterfaceName,
            Fact::InterfaceNameEnd,
            Fact::User,
        ];
        let numbers = match self.below(8) {
            0 => Numbers::each([]),
            1 => Numbers::but([]),
            2 => Numbers::but((0..self.below(12)).map(|_| self.fact()).collect::<Vec<_>>()),
            _ => {
                let ranges = (0..self.below(20)).map(|_| {
                    let start = self.fact();
                    start..=start.saturating_add(self.below(4).into())
                });
                Numbers::of(ranges.collect::<Vec<_>>())
            }
        };
        (self.one(&facts), numbers)
    }

    /// The value of a fact: few small numbers, and the limits.
    fn fact(&mut self) -> u64 {
        match self.below(6) {
            0 => self.one(&[u64::MAX, u64::MAX - 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_ffff_8100_0000]),
            _ => self.below(40).into(),
        }
    }

    /// The bytes of a packet, and what the kernel program knows of it: whole, cut short, or without a header.
    pub(super) fn packet(&mut self) -> (Vec<u8>, CpuState) {
        let length = self.below(90) as usize;
        let bytes: Vec<u8> = (0..length).map(|_| if self.below(2) == 0 { 0 } else { self.0.random() }).collect();
        let has_link = self.below(4) > 0 && length >= ETHERNET;
        let network = if has_link { ETHERNET } else { 0 };
        let mut state = CpuState::new_zeroed();
        state.view = PacketView {
            link: PACKET_AT,
            link_length: if has_link { length as u64 } else { 0 },
            network: PACKET_AT + network as u64,
            network_length: if self.below(8) == 0 { 0 } else { (length - network) as u64 },
            protocol: self.one(&[0, 0x0800, 0x86dd]),
            vlan: self.one(&[0, VLAN_PRESENT, VLAN_PRESENT | 7]),
        };
        let key = DropKey {
            location: self.fact(),
            netns: self.fact(),
            cgroup_id: self.fact(),
            ifindex: self.number(),
            reason: self.number(),
            kind: u8::try_from(self.below(40)).unwrap(),
            ..DropKey::default()
        };
        state.interface = [self.fact(), self.fact()];
        state.user = self.fact();
        state.dropped = DropFacts { key, length: self.number(), ..DropFacts::default() };
        (bytes, state)
    }
}
