//! The language of filters, compared with tcpdump: the same expressions decide the same packets in the same way, except for
//! the differences that `docs/reference/filter.md` lists, each of which has a test of its own here.

mod classic;
mod expressions;
mod packets;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use droptrace_base::filter::Filter;
use droptrace_base::filter::question::Question;
use droptrace_base::filter::{Answers, View};
use rand::SeedableRng as _;
use rand_xorshift::XorShiftRng;
use tests::trials::{self, trial};

use classic::Program;
use expressions::{Expression, Expressions};
use packets::{Packet, Tag};

/// Expressions that are compared with untagged packets.
const EXPRESSIONS: usize = 3_000;
/// Expressions that are compared with tagged packets.
const OF_TAGGED: usize = 800;
/// Packets for each expression.
const PACKETS: usize = 300;
/// The part of the packets that some expression out of many must match, so that the comparison means something.
const MATCHED: usize = 20;

fn main() -> ExitCode {
    trials::run(vec![
        trial("untagged_packets_match_as_in_tcpdump", untagged),
        trial("tagged_packets_match_as_behind_a_tag_in_tcpdump", tagged),
        trial("vlan_matches_as_in_tcpdump", vlan),
        trial("inner_tags_are_transparent", inner_tags),
        trial("port_names_mean_all_transports", port_names),
        trial("modulo_binds_as_multiplication", modulo),
        trial("protocols_need_no_backslash", backslashes),
        trial("each_operand_needs_its_header", operands),
        trial("cut_addresses_match_short_prefixes", cut_addresses),
        trial("ethernet_header_may_be_cut", cut_link),
    ])
}

/// Knows no answers.
struct Nothing;

impl Answers for Nothing {
    fn answer(&self, _question: &Question) -> bool {
        false
    }
}

fn ours(text: &str) -> Result<Filter> {
    Filter::parse(text).map_err(|error| anyhow::anyhow!("droptrace refuses `{text}`: {error}"))
}

fn matches(filter: &Filter, packet: &Packet) -> bool {
    filter.matches(&packet.view(), &Nothing)
}

/// Compares one expression of each, for the packets, and returns how many match.
fn compare(expression: &Expression, theirs: &Program, packets: &[Packet]) -> Result<usize> {
    let filter = ours(&expression.text)?;
    let mut matched = 0;
    for packet in packets.iter().filter(|packet| !expression.has_short_prefix || !packet.cuts_ipv6()) {
        let (own, their) = (matches(&filter, packet), theirs.matches(&packet.bytes, packet.length));
        let text = &expression.text;
        ensure!(own == their, "`{text}` matches: droptrace {own}, tcpdump {their}, for {packet}; {:?}", filter.code);
        matched += usize::from(own);
    }
    Ok(matched)
}

/// Compares generated expressions; `of` makes the expression for tcpdump.
fn compare_all(seed: u64, count: usize, tag: Option<Tag>, of: impl Fn(&str) -> String) -> Result<()> {
    let mut random = XorShiftRng::seed_from_u64(seed);
    let packets: Vec<Packet> = (0..PACKETS).map(|_| Packet::random(&mut random, tag)).collect();
    let mut expressions = Expressions { random };
    let (mut matched, mut decisive) = (0, 0);
    for _ in 0..count {
        let expression = expressions.next();
        let found = compare(&expression, &Program::of(&of(&expression.text))?, &packets)?;
        matched += found;
        decisive += usize::from(found > 0 && found < PACKETS);
    }
    ensure!(decisive > count / 2, "only {decisive} of {count} expressions tell packets apart");
    ensure!(matched > count * PACKETS / MATCHED, "only {matched} matches in all");
    Ok(())
}

fn untagged() -> Result<()> {
    compare_all(1, EXPRESSIONS, None, str::to_owned)
}

fn tagged() -> Result<()> {
    let tags = [Tag { ether_type: 0x8100, tci: 0x2007 }, Tag { ether_type: 0x88a8, tci: 0x0fff }];
    for (seed, tag) in tags.into_iter().enumerate() {
        compare_all(100 + seed as u64, OF_TAGGED / 2, Some(tag), |text| format!("vlan and ({text})"))?;
    }
    Ok(())
}

/// Packets of a kind, the same in each run.
fn some_packets(tag: Option<Tag>) -> Vec<Packet> {
    let mut random = XorShiftRng::seed_from_u64(7);
    (0..PACKETS).map(|_| Packet::random(&mut random, tag)).collect()
}

fn vlan() -> Result<()> {
    let tag = Tag { ether_type: 0x8100, tci: 0x6007 };
    for text in ["vlan", "vlan 7", "vlan 8", "not vlan", "not vlan 7", "vlan 7 and ip", "vlan 7 and udp port 53"] {
        let theirs = Program::of(text)?;
        for tag in [None, Some(tag)] {
            let expression = Expression { text: text.into(), has_short_prefix: false };
            compare(&expression, &theirs, &some_packets(tag))?;
        }
    }
    Ok(())
}

/// tcpdump looks behind one tag for each word `vlan`; droptrace looks behind all.
fn inner_tags() -> Result<()> {
    let outer = Tag { ether_type: 0x88a8, tci: 5 };
    let (filter, theirs) = (ours("udp port 53")?, Program::of("vlan and vlan and udp port 53")?);
    let mut matched = 0;
    for packet in some_packets(Some(Tag { ether_type: 0x8100, tci: 6 })) {
        let packet = packet.within(outer);
        let own = matches(&filter, &packet);
        ensure!(own == theirs.matches(&packet.bytes, packet.length), "{packet}");
        matched += usize::from(own);
    }
    ensure!(matched > 0, "no packet matches");
    Ok(())
}

/// Two expressions mean the same.
fn equal(own: &str, their: &str) -> Result<()> {
    let expression = Expression { text: own.into(), has_short_prefix: false };
    compare(&expression, &Program::of(their)?, &some_packets(None))?;
    Ok(())
}

fn port_names() -> Result<()> {
    equal("port http", "port 80")?;
    equal("udp port http", "udp port 80")?;
    equal("portrange domain-http", "portrange 53-80")
}

fn modulo() -> Result<()> {
    equal("ip[8] % 4 + 1 > 2", "(ip[8] % 4) + 1 > 2")?;
    equal("ip[8] % 16 % 5 = 1", "(ip[8] % 16) % 5 = 1")?;
    equal("ip[8] ^ 3 & 2 != 0", "ip[8] ^ (3 & 2) != 0")?;
    equal("ip[8] ^ 3 | 8 != 9", "(ip[8] ^ 3) | 8 != 9")
}

fn backslashes() -> Result<()> {
    equal("ip proto tcp", "ip proto \\tcp")?;
    equal("proto udp or 6", "proto \\udp or 6")?;
    equal("ether proto arp", "ether proto \\arp")
}

/// tcpdump checks only the header of the first operand, and loads others from where their header would be.
fn operands() -> Result<()> {
    equal("ip[8] + tcp[13] >= 20", "tcp[0] >= 0 and ip[8] + tcp[13] >= 20")?;
    equal("1 + udp[0:2] != 0", "udp[0:2] + 1 != 0")
}

/// Bytes of an address that the prefix does not cover may be missing.
fn cut_addresses() -> Result<()> {
    let mut packet = Packet::cut_within_ipv6_addresses();
    ensure!(matches(&ours("src net fe80::/10")?, &packet), "the prefix is there");
    ensure!(!matches(&ours("not src net fe80::/48")?, &packet), "a part of the prefix is missing");
    let (optimized, plain) = (Program::optimized("src net fe80::/10")?, Program::of("src net fe80::/10")?);
    ensure!(optimized.matches(&packet.bytes, packet.length), "tcpdump, if it optimizes, does the same");
    ensure!(!plain.matches(&packet.bytes, packet.length), "tcpdump without optimization needs all bytes");
    packet.bytes.truncate(22);
    ensure!(!matches(&ours("not src net fe80::/10")?, &packet), "the prefix is missing");
    Ok(())
}

/// tcpdump reads the type from the bytes; droptrace has it from the kernel, or does not know it.
fn cut_link() -> Result<()> {
    let bytes = [2, 0, 0, 0, 0, 1];
    let view = View { link: &bytes, length: 60, ..View::default() };
    ensure!(ours("not ip")?.matches(&view, &Nothing) && !ours("ip")?.matches(&view, &Nothing));
    ensure!(!Program::of("not ip")?.matches(&bytes, 60));
    Ok(())
}
