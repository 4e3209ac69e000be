use tracer_common::CpuState;

use super::condition::{Condition, Fact, Numbers};
use super::machine::{CAST, IN6_ADDR, Machine, PACKET_AT};
use super::random::{QUESTIONS, Random};
use super::translate::{Reading, translate};
use crate::filter::code::{Base, Number, Op, Size};
use crate::filter::question::Question;
use crate::filter::{Answers, Filter, View};

const CASTS: Reading = Reading::Cast { function: CAST, in6_addr: IN6_ADDR };

/// Answers the questions of a filter, which are the numbers of its conditions.
struct Known<'a> {
    conditions: &'a [Condition],
    state: &'a CpuState,
}

impl Answers for Known<'_> {
    fn answer(&self, question: &Question) -> bool {
        let Question::Reason(number) = question else { unreachable!() };
        self.conditions[number.parse::<usize>().unwrap()].holds(self.state)
    }
}

/// What userspace sees of the packet that a state has.
fn view<'p>(packet: &'p [u8], state: &CpuState) -> View<'p> {
    let bytes = |start: u64, length: u64| {
        &packet[usize::try_from(start - PACKET_AT).unwrap()..][..usize::try_from(length).unwrap()]
    };
    View {
        link: bytes(state.view.link, state.view.link_length),
        network: bytes(state.view.network, state.view.network_length),
        protocol: state.view.protocol.try_into().unwrap(),
        length: state.dropped.length,
        vlan_tag: state.view.vlan,
    }
}

/// Runs the translations of random filters on random packets, and counts the runs that match.
fn matches_as_interpreted(reading: Reading, filters: u32) -> u32 {
    const PACKETS: u32 = 20;
    let mut random = Random::new(41);
    let mut matches = 0;
    for _ in 0..filters {
        let length = u16::try_from(random.below(40)).unwrap() + 1;
        let (code, conditions) = (random.code(length), random.conditions());
        let translated = translate(&code, &conditions, reading).unwrap();
        let questions = (0..QUESTIONS).map(|number| Question::Reason(number.to_string().into())).collect();
        let filter = Filter { text: String::new(), code, questions, offsets: vec![] };
        for _ in 0..PACKETS {
            let (packet, state) = random.packet();
            let found = Machine::new(&state, &packet).run(&translated);
            let known = Known { conditions: &conditions, state: &state };
            let expected = filter.matches(&view(&packet, &state), &known);
            assert_eq!(found, u64::from(expected), "{filter:?} of {conditions:?} on {packet:?} of {state:?}");
            matches += u32::from(expected);
        }
    }
    matches
}

#[test]
fn translations_decide_as_the_code_says() {
    for reading in [CASTS, Reading::Probe] {
        let matches = matches_as_interpreted(reading, 4_000);
        assert!(matches > 8_000, "{matches} of 80,000");
    }
}

#[test]
fn without_bytes_loads_end_without_a_match() {
    let code = |op| [op, Op::Return(true)];
    let (packet, state) = (
        vec![0; 60],
        CpuState {
            view: tracer_common::PacketView { network: PACKET_AT, network_length: 60, ..Default::default() },
            ..zerocopy::FromZeros::new_zeroed()
        },
    );
    let load = Op::Load { base: Base::Network, size: Size::Byte, indexed: false, offset: 0 };
    for (op, reading, expected) in
        [(load, Reading::Nothing, 0), (load, CASTS, 1), (Op::Number(Number::Length), Reading::Nothing, 1)]
    {
        let translated = translate(&code(op), &[], reading).unwrap();
        assert_eq!(Machine::new(&state, &packet).run(&translated), expected, "{op:?} by {reading:?}");
    }
}

#[test]
fn code_that_is_too_long_for_jumps_is_refused() {
    let load = Op::Load { base: Base::Network, size: Size::Word, indexed: true, offset: 1 };
    let filter = |loads: usize| [vec![load; loads], vec![Op::Return(true)]].concat();
    assert!(translate(&filter(2_500), &[], CASTS).is_ok());
    assert!(translate(&filter(4_000), &[], CASTS).is_err());
}

#[test]
fn sets_of_numbers_merge_and_invert() {
    let but = Numbers::but([0, 1, 5, u64::MAX]);
    assert_eq!(but, Numbers::of([2..=3, 4..=4, 6..=u64::MAX - 1]));
    assert_eq!(Numbers::but([]), Numbers::of([0..=u64::MAX]));
    assert_eq!(Numbers::each([3, 1, 2]), Numbers::of([1..=3]));
}

#[test]
fn checks_that_decide_nothing_are_left_out() {
    let never = Condition::is(Fact::Reason, Numbers::each([]));
    assert!(!never.can_hold() && never.can_fail());
    let always = never.or(vec![(Fact::Reason, Numbers::but([]))]);
    assert!(always.can_hold() && !always.can_fail());
    assert_eq!(always.clone().or(vec![(Fact::Kind, Numbers::each([1]))]), always);
}
