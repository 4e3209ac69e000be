use super::*;

/// A modern kernel, and a process with all capabilities that droptrace needs.
fn good() -> Facts {
    Facts {
        capabilities: CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::SYSLOG,
        knows_cap_bpf: true,
        initial_user_namespace: true,
        has_btf: true,
        has_bpf: true,
        lockdown: Lockdown::None,
        locked_memory: Some(65_536),
        program: "/usr/bin/droptrace".into(),
    }
}

fn with_capabilities(capabilities: CapabilitySet) -> Facts {
    Facts { capabilities, ..good() }
}

fn text(obstacles: &[Obstacle]) -> String {
    obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn modern_kernel_and_capable_process_have_no_obstacle() {
    assert_eq!(good().obstacles(), []);
    assert_eq!(good().explain_refusal(Some(libc::EINVAL)), []);
    assert_eq!(good().explain_refusal(None), []);
}

#[test]
fn missing_capabilities_are_named_with_each_way_to_grant_them() {
    let text = text(&with_capabilities(CapabilitySet::SYSLOG).obstacles());
    assert_eq!(
        text,
        "this process lacks CAP_BPF and CAP_PERFMON; grant them by one of\n  \
         once:        sudo /usr/bin/droptrace …\n  \
         to the file: sudo setcap cap_bpf,cap_perfmon,cap_syslog+ep /usr/bin/droptrace\n  \
         a container: --cap-add BPF --cap-add PERFMON --cap-add SYSLOG\n  \
         a service:   AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_SYSLOG"
    );
}

#[test]
fn each_capability_counts_for_itself() {
    let missing = |capabilities| with_capabilities(capabilities).missing_capabilities();
    assert_eq!(missing(CapabilitySet::BPF), ["CAP_PERFMON"]);
    assert_eq!(missing(CapabilitySet::PERFMON), ["CAP_BPF"]);
    assert_eq!(missing(CapabilitySet::NET_ADMIN), ["CAP_BPF", "CAP_PERFMON"]);
    assert!(missing(CapabilitySet::SYS_ADMIN).is_empty());
}

#[test]
fn kernels_before_cap_bpf_need_cap_sys_admin() {
    let old = |capabilities| Facts { knows_cap_bpf: false, ..with_capabilities(capabilities) };
    assert!(old(CapabilitySet::SYS_ADMIN).missing_capabilities().is_empty());
    // Such a kernel does not know these bits, so they have no effect.
    let facts = old(CapabilitySet::BPF | CapabilitySet::PERFMON);
    assert_eq!(facts.missing_capabilities(), ["CAP_SYS_ADMIN"]);
    assert!(text(&facts.obstacles()).contains("setcap cap_sys_admin,cap_syslog+ep"), "{}", text(&facts.obstacles()));
}

#[test]
fn capabilities_of_another_user_namespace_do_not_count() {
    let facts = Facts { initial_user_namespace: false, ..good() };
    assert_eq!(facts.obstacles(), [Obstacle::UserNamespace]);
    assert!(text(&facts.obstacles()).contains("rootless container"));
}

#[test]
fn missing_btf_and_missing_bpf_are_reported() {
    let facts = Facts { has_btf: false, has_bpf: false, ..good() };
    assert_eq!(facts.obstacles(), [Obstacle::NoBpf, Obstacle::NoBtf]);
    let text = text(&facts.obstacles());
    assert!(text.contains("CONFIG_BPF_SYSCALL") && text.contains("CONFIG_DEBUG_INFO_BTF"), "{text}");
    assert_eq!(good().explain_refusal(Some(libc::ENOSYS)), [Obstacle::NoBpf], "hidden by a filter");
}

#[test]
fn lockdown_explains_a_refusal_only() {
    let facts = |lockdown| Facts { lockdown, ..good() };
    assert_eq!(facts(Lockdown::Confidentiality).obstacles(), []);
    assert_eq!(facts(Lockdown::Confidentiality).explain_refusal(Some(libc::EPERM)), [Obstacle::Lockdown]);
    assert_eq!(facts(Lockdown::Confidentiality).explain_refusal(Some(libc::EACCES)), [Obstacle::Lockdown]);
    assert_eq!(facts(Lockdown::Confidentiality).explain_refusal(Some(libc::EINVAL)), [Obstacle::Lockdown]);
    assert_eq!(facts(Lockdown::Integrity).explain_refusal(Some(libc::EACCES)), []);
}

#[test]
fn unexplained_refusal_points_to_policies() {
    let text_for = |locked_memory| text(&Facts { locked_memory, ..good() }.explain_refusal(Some(libc::EPERM)));
    assert!(text_for(Some(65_536)).contains("SELinux, AppArmor"), "{}", text_for(None));
    assert!(text_for(Some(65_536)).contains("now 64 KiB"), "{}", text_for(None));
    assert!(text_for(None).contains("now unlimited"), "{}", text_for(None));
}

#[test]
fn lockdown_file_marks_the_chosen_level() {
    assert_eq!(Lockdown::parse("[none] integrity confidentiality\n"), Lockdown::None);
    assert_eq!(Lockdown::parse("none [integrity] confidentiality\n"), Lockdown::Integrity);
    assert_eq!(Lockdown::parse("none integrity [confidentiality]\n"), Lockdown::Confidentiality);
    for odd in ["", "none integrity", "[", "[]", "]["] {
        assert_eq!(Lockdown::parse(odd), Lockdown::None, "{odd}");
    }
}

/// The values in `/proc/self/status` must be those that the system call returned.
#[test]
fn facts_of_the_running_process_match_proc_status() {
    let facts = Facts::read();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    assert_eq!(facts.capabilities.bits(), u64::from_str_radix(effective, 16).unwrap());
    assert_eq!(facts.has_btf, Path::new(VMLINUX).exists());
    assert_eq!(facts.program, std::env::current_exe().unwrap());
}
