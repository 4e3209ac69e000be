use proptest::prelude::*;

use super::*;

const KALLSYMS: &str = include_str!("../fixtures/kallsyms");
const MODULES: &str = include_str!("../fixtures/modules");
const HIDDEN: &str = include_str!("../fixtures/kallsyms-hidden");

/// The symbol as the kernel prints addresses: `name+offset [module]`.
fn shown(symbol: Option<&Symbol>) -> String {
    symbol.map_or_else(String::new, |symbol| {
        let module = symbol.module.as_ref().map_or_else(String::new, |module| format!(" [{module}]"));
        format!("{}+{:#x}{module}", symbol.name, symbol.offset)
    })
}

fn find(address: u64) -> String {
    shown(look_up_in(KALLSYMS.as_bytes(), MODULES.as_bytes(), address).as_ref())
}

#[test]
fn address_resolves_to_the_function_with_the_call() {
    assert_eq!(find(0xffff_ffff_8204_5697), "udp_queue_rcv_one_skb+0x1a7");
    // The first address follows a call in the function's first bytes. The last one follows a call that is the last
    // instruction of netlink_add_tap, so the return address lies in the padding of the next function.
    assert_eq!(find(0xffff_ffff_81ef_b0d5), "netlink_add_tap+0x5");
    assert_eq!(find(0xffff_ffff_81ef_b180), "netlink_add_tap+0xb0");
    assert_eq!(find(0xffff_ffff_81ef_b190), "netlink_add_tap+0xc0");
    assert_eq!(find(0xffff_ffff_81ef_b191), "netlink_remove_tap+0x1");
}

#[test]
fn functions_and_their_parts_end_at_the_next_function() {
    let table = Table::read(KALLSYMS.as_bytes(), MODULES.as_bytes()).unwrap();
    let image = 0xffff_ffff_8204_54f0..0xffff_ffff_8204_59c0;
    assert_eq!(table.code_where(|name| ["udp_queue_rcv_one_skb", "no_such_function"].contains(&name)), [image]);
    let module = 0xffff_ffff_c0a0_1800..0xffff_ffff_c0a0_1000 + 45056;
    assert_eq!(table.code_where(|name| name == "veth_exit"), [module]);
    assert!(
        Table::read(HIDDEN.as_bytes(), MODULES.as_bytes())
            .unwrap()
            .code_where(|name| name == "udp_queue_rcv_one_skb")
            .is_empty()
    );
}

#[test]
fn beyond_the_functions_there_is_no_symbol() {
    assert_eq!(find(0), "");
    assert_eq!(find(0xffff_ffff_8100_0000), "", "before _stext");
    assert_eq!(find(0xffff_ffff_8220_9988), "__SCT__tp_func_ma_write+0x8", "a call that ends at _etext");
    assert_eq!(find(0xffff_ffff_8220_9989), "", "beyond _etext");
    assert_eq!(find(0xffff_ffff_8378_3001), "", "initialisation, gone after the start");
    assert_eq!(find(u64::MAX), "");
}

#[test]
fn a_name_of_the_source_is_better_than_a_mark_of_the_linker() {
    assert_eq!(find(0xffff_ffff_8100_0001), "srso_alias_untrain_ret+0x1");
}

#[test]
fn symbols_of_modules_have_the_module_name() {
    assert_eq!(find(0xffff_ffff_c0a0_1123), "veth_xmit+0x123 [veth]");
    assert_eq!(find(0xffff_ffff_c0a0_1801), "veth_exit.cold+0x1 [veth]", "only parts bear this name");
    assert_eq!(find(0xffff_ffff_c0b0_0100), "ovs_alias+0x100 [openvswitch]", "global before local");
    let last_byte = 0xffff_ffff_c0a0_1000 + 45056;
    assert_eq!(find(last_byte), "veth_exit.cold+0xa800 [veth]");
    assert_eq!(find(last_byte + 1), "", "beyond the module");
}

#[test]
fn symbols_outside_of_modules_have_no_known_end() {
    assert_eq!(find(0xffff_ffff_c020_1010), "");
    assert_eq!(find(0xffff_ffff_c0c0_0010), "");
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let mut lines: Vec<&str> = KALLSYMS.lines().collect();
    lines.reverse();
    let reversed = lines.join("\n");
    for address in [0xffff_ffff_8204_5697, 0xffff_ffff_8100_0001, 0xffff_ffff_c0b0_0100, 0xffff_ffff_c0a0_1123] {
        let found = look_up_in(reversed.as_bytes(), MODULES.as_bytes(), address);
        assert_eq!(shown(found.as_ref()), find(address));
    }
}

/// Files in place of `/proc/kallsyms` and `/proc/modules`, removed when the value is dropped.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, kallsyms: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("droptrace-symbols-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.write(kallsyms, MODULES);
        files
    }

    fn write(&self, kallsyms: &str, modules: &str) {
        std::fs::write(self.0.join("kallsyms"), kallsyms).unwrap();
        std::fs::write(self.0.join("modules"), modules).unwrap();
    }

    fn symbols(&self) -> Symbols {
        Symbols::from_files(self.0.join("kallsyms"), self.0.join("modules"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // The system clears its temporary folder if the removal fails.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const VETH_XMIT: u64 = 0xffff_ffff_c0a0_1123;

#[test]
fn equal_addresses_share_one_location() {
    let files = Files::new("shared", KALLSYMS);
    let mut symbols = files.symbols();
    let first = symbols.resolve(VETH_XMIT);
    assert!(Arc::ptr_eq(&first, &symbols.resolve(VETH_XMIT)));
    assert_eq!((first.address, shown(first.symbol.as_ref()).as_str()), (VETH_XMIT, "veth_xmit+0x123 [veth]"));
    let unknown = symbols.resolve(1);
    assert!(Arc::ptr_eq(&unknown, &symbols.resolve(1)));
}

#[test]
fn a_module_loaded_later_is_found_within_a_second() {
    let without: String = KALLSYMS.lines().filter(|line| !line.ends_with("[veth]")).collect::<Vec<_>>().join("\n");
    let files = Files::new("later", &without);
    let mut symbols = files.symbols();
    let start = Instant::now();
    symbols.resolve_at(0xffff_ffff_8204_5697, start);
    files.write(KALLSYMS, MODULES);
    let soon = start + Duration::from_millis(999);
    assert_eq!(symbols.resolve_at(VETH_XMIT, soon).symbol, None);
    let later = start + Duration::from_secs(1);
    assert_eq!(shown(symbols.resolve_at(VETH_XMIT, later).symbol.as_ref()), "veth_xmit+0x123 [veth]");
}

#[test]
fn an_address_that_stays_unknown_is_not_looked_for_again() {
    let files = Files::new("unknown", KALLSYMS);
    let mut symbols = files.symbols();
    let start = Instant::now();
    symbols.resolve_at(VETH_XMIT, start);
    for (address, seconds) in [(1, 0), (2, 0), (1, 1), (1, 10), (2, 10), (VETH_XMIT, 20)] {
        symbols.resolve_at(address, start + Duration::from_secs(seconds) + Duration::from_millis(1));
    }
    assert_eq!(symbols.read_at, Some(start + Duration::from_millis(1001)), "read again once, for both");
}

#[test]
fn hidden_addresses_are_reported() {
    let files = Files::new("hidden", HIDDEN);
    let mut symbols = files.symbols();
    assert!(symbols.hidden().unwrap());
    assert_eq!(symbols.resolve(VETH_XMIT).symbol, None);
    assert!(symbols.hidden().unwrap());
    files.write(KALLSYMS, MODULES);
    let mut symbols = files.symbols();
    assert!(!symbols.hidden().unwrap());
    symbols.resolve(VETH_XMIT);
    assert!(!symbols.hidden().unwrap());
}

#[test]
fn a_kernel_without_the_table_has_no_symbols() {
    let mut symbols = Symbols::from_files("/proc/no-such-table".into(), "/proc/no-such-modules".into());
    assert!(symbols.hidden().is_err());
    assert_eq!(symbols.resolve(VETH_XMIT).symbol, None);
}

#[test]
fn every_function_of_the_running_kernel_is_found_at_its_start() {
    let kallsyms = std::fs::read("/proc/kallsyms").unwrap_or_default();
    let (mut start, mut end) = (0, 0);
    let lines: Vec<Line> = kallsyms.split(|byte| *byte == b'\n').filter_map(Line::parse).collect();
    for line in &lines {
        match line.name() {
            "_stext" => start = line.address,
            "_etext" => end = line.address,
            _ => {}
        }
    }
    if start == 0 {
        let test = "every_function_of_the_running_kernel_is_found_at_its_start";
        crate::skipped(test, "/proc/kallsyms shows no addresses");
        return;
    }
    let table = Table::read(kallsyms.as_slice(), &[]).unwrap();
    let functions = lines.iter().filter(|line| line.is_function() && (start..end).contains(&line.address));
    let mut checked = 0;
    for line in functions.filter(|line| !line.name().starts_with("__pfx_") && !line.name().starts_with("__cfi_")) {
        let found = table.find(line.address + 1).unwrap();
        assert_eq!(found.offset, 1, "{}", line.name());
        let namesakes = lines.iter().filter(|other| other.address == line.address);
        if *found.name != *line.name() {
            assert!(namesakes.into_iter().any(|other| *found.name == *other.name()), "{}", line.name());
        }
        checked += 1;
    }
    assert!(checked > 10_000, "{checked}");
}

proptest! {
    #[test]
    fn any_text_is_accepted(kallsyms: Vec<u8>, modules: Vec<u8>, address: u64) {
        look_up_in(&kallsyms, &modules, address);
    }

    #[test]
    fn damaged_tables_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..30),
        address in 0xffff_ffff_8100_0000_u64..=u64::MAX,
    ) {
        let (mut kallsyms, mut modules) = (KALLSYMS.as_bytes().to_vec(), MODULES.as_bytes().to_vec());
        for (at, value) in changes {
            let text = if value & 1 == 0 { &mut kallsyms } else { &mut modules };
            let at = at.index(text.len());
            text[at] = value;
        }
        if let Some(symbol) = look_up_in(&kallsyms, &modules, address) {
            prop_assert!(symbol.offset > 0 && symbol.offset <= address);
        }
    }
}
