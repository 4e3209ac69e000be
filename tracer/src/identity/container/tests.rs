use proptest::prelude::*;

use super::runtime::Runtime;
use super::*;

const ID: &str = "3f4e8a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000deadbeef";
const UID: &str = "5d0e3c1a-0f7e-4b7c-9d5a-1f2e3d4c5b6a";
const STATIC: &str = "0123456789abcdef0123456789abcdef";

/// Replaces `ID`, `OTHER`, `UID` with hyphens, `U_ID` with underscores and `STATIC` in a path.
fn filled(path: &str) -> String {
    let slice_uid = UID.replace('-', "_");
    let replaced = path.replace("OTHER", OTHER).replace("U_ID", &slice_uid).replace("UID", UID);
    replaced.replace("STATIC", STATIC).replace("ID", ID)
}

fn found(path: &str) -> Owner {
    owner(&filled(path))
}

#[track_caller]
fn assert_container(path: &str, runtime: impl Into<Option<Runtime>>, pod: Option<&str>) {
    let owner = found(path);
    let expected = Container { runtime: runtime.into(), id: ID.to_owned() };
    assert_eq!((owner.container, owner.pod.as_deref()), (Some(expected), pod), "{path}");
}

#[test]
fn containers_outside_of_pods() {
    assert_container("/system.slice/docker-ID.scope", Runtime::Docker, None);
    assert_container("/docker/ID", Runtime::Docker, None);
    assert_container("/docker/ID/init.scope", Runtime::Docker, None);
    assert_container("/batch.slice/ID", None, None);
    assert_container("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", Runtime::Docker, None);
    assert_container("/machine.slice/libpod-ID.scope", Runtime::Podman, None);
    assert_container("/machine.slice/libpod-ID.scope/container", Runtime::Podman, None);
    assert_container("/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope", Runtime::Podman, None);
    assert_container("/libpod_parent/libpod-ID", Runtime::Podman, None);
    assert_container("/system.slice/web.service/libpod-payload-ID", Runtime::Podman, None);
    assert_container("/system.slice/nerdctl-ID.scope", Runtime::Nerdctl, None);
    assert_container("/default/ID", None, None);
    assert_container("/ecs/0123/ID", None, None);
}

#[test]
fn containers_of_pods() {
    let slices = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice";
    let uid = Some(UID);
    assert_container(&format!("{slices}/cri-containerd-ID.scope"), Runtime::Containerd, uid);
    assert_container(&format!("{slices}/crio-ID.scope/container"), Runtime::CriO, uid);
    assert_container(&format!("{slices}/docker-ID.scope"), Runtime::Docker, uid);
    assert_container("/kubepods.slice/kubepods-podU_ID.slice/crio-ID.scope", Runtime::CriO, uid);
    assert_container("/kubepods/burstable/podUID/ID", None, uid);
    assert_container("/kubepods/podUID/crio-ID", Runtime::CriO, uid);
    assert_container("/kubepods/besteffort/podSTATIC/ID", None, Some(STATIC));
    assert_container(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSTATIC.slice/cri-containerd-ID.scope",
        Runtime::Containerd,
        Some(STATIC),
    );
    assert_container(
        "/system.slice/containerd.service/kubepods-besteffort-podU_ID.slice:cri-containerd:ID",
        Runtime::Containerd,
        uid,
    );
}

#[test]
fn innermost_container_is_the_owner() {
    let uid = Some(UID);
    // kind
    assert_container("/docker/OTHER/kubelet/kubepods/burstable/podUID/ID", None, uid);
    assert_container(
        "/system.slice/docker-OTHER.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
         kubelet-kubepods-besteffort-podU_ID.slice/cri-containerd-ID.scope",
        Runtime::Containerd,
        uid,
    );
    // k3s in a container
    assert_container("/docker/OTHER/k3s/kubepods/podUID/ID", None, uid);
    // Docker in a pod
    assert_container("/kubepods/podUID/OTHER/docker/ID", Runtime::Docker, uid);
    let node = found("/system.slice/docker-ID.scope/system.slice/kubelet.service");
    assert_eq!((node.container.unwrap().id, node.unit.as_deref()), (ID.to_owned(), Some("kubelet.service")));
}

#[test]
fn pods_without_a_container() {
    let pod = found("/kubepods.slice/kubepods-podU_ID.slice");
    assert_eq!(pod, Owner { pod: Some(UID.to_owned()), ..Owner::default() });
    assert_eq!(found("/docker/OTHER/kubelet/kubepods/podUID"), pod);
    for path in ["/kubepods.slice", "/kubepods/burstable", "/kubepods/podium", "/podman.slice", "/x-pod1.slice"] {
        assert_eq!(found(path).pod, None, "{path}");
    }
}

#[test]
fn monitors_are_not_containers() {
    for path in [
        "/machine.slice/libpod-conmon-ID.scope",
        "/kubepods.slice/kubepods-podU_ID.slice/crio-conmon-ID.scope",
        "/lxc.monitor.web",
        "/lxc.monitor/web",
        "/system.slice/docker-0123.scope",
        "/system.slice/docker-ID.service",
    ] {
        assert_eq!(found(path).container, None, "{path}");
    }
    assert_eq!(found("/a/libpod-conmon-ID.scope").unit.unwrap(), format!("libpod-conmon-{ID}.scope"));
}

#[test]
fn machines_and_lxc_have_names() {
    let expect = |path: &str, runtime, name: &str| {
        let container = found(path).container.unwrap();
        assert_eq!((container.runtime, &*container.id, container.short()), (Some(runtime), name, name), "{path}");
    };
    expect("/machine.slice/systemd-nspawn@deb\\x2d12.service/payload", Runtime::Nspawn, "deb-12");
    expect("/machine.slice/machine-fedora.scope/payload/init.scope", Runtime::Nspawn, "fedora");
    expect("/machine.slice/machine-qemu\\x2d3\\x2ddb\\x2d1.scope/libvirt/vcpu0", Runtime::Libvirt, "db-1");
    expect("/lxc.payload.web/system.slice", Runtime::Lxc, "web");
    expect("/lxc.payload/web", Runtime::Lxc, "web");
    expect("/lxc/101/ns", Runtime::Lxc, "101");
}

#[test]
fn ids_are_shown_short() {
    assert_eq!(found("/docker/ID").container.unwrap().short(), "3f4e8a1b2c3d");
    let task = format!("{STATIC}-2531612879");
    assert_eq!(found(&format!("/ecs/x/{task}")).container.unwrap().short(), task);
}

#[test]
fn units_and_users() {
    let expect = |path: &str, unit: Option<&str>, user| {
        let owner = found(path);
        assert_eq!((owner.unit.as_deref(), owner.user), (unit, user), "{path}");
    };
    expect("/system.slice/ssh.service", Some("ssh.service"), None);
    expect("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service"), None);
    expect("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), Some(1000));
    expect("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service", Some("app-x.service"), Some(1000));
    expect("/user.slice/user-0.slice/user@0.service/init.scope", Some("init.scope"), Some(0));
    expect("/system.slice/dev-disk\\x2dby.swap", Some("dev-disk-by.swap"), None);
    // systemd puts `_` before a name that could be a file of the kernel's (`cg_escape`).
    expect("/system.slice/_cpu.service", Some("cpu.service"), None);
    expect("/system.slice/web.service/libpod-payload-ID", Some("web.service"), None);
    // The user ids within a container are not the host's.
    let nested = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container/user.slice";
    expect(&format!("{nested}/user-7.slice/session-1.scope"), Some("session-1.scope"), Some(1000));
    expect("/", None, None);
    expect("/.service", None, None);
    assert_eq!(found("/system.slice"), Owner::default());
}

#[test]
fn hidden_characters_do_not_come_back_by_escapes() {
    let unit = found("/a\\x1b[2J\\xe2\\x80\\xae.service").unit.unwrap();
    assert_eq!(unit, "a\u{fffd}[2J\u{fffd}.service");
}

#[test]
fn cgroup2_counts_unless_only_v1_names_the_container() {
    let process = |text: &str| of_process(&filled(text)).unwrap();
    let (path, owner) = process("12:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/docker.service\n");
    assert_eq!((path, owner.container.unwrap().id), (format!("/docker/{ID}"), ID.to_owned()));
    let (path, _) = process("12:memory:/\n1:name=systemd:/docker/ID\n0::/\n");
    assert_eq!(path, format!("/docker/{ID}"));
    let (path, _) = process("4:memory:/a/x.service\n1:name=systemd:/b/y.service\n0::/c/z.service\n");
    assert_eq!(path, "/c/z.service");
    let (path, _) = process("4:memory:/a\n1:name=systemd:/b/y.service\n0::/\n");
    assert_eq!(path, "/b/y.service");
    let (path, _) = process("0::/../../system.slice/ssh.service (deleted)\n");
    assert_eq!(path, "/../../system.slice/ssh.service");
    assert_eq!(of_process("4:memory:/\n0::/\n"), None);
    assert_eq!(of_process("nonsense"), None);
}

/// Paths made of what runtimes use, and of anything.
fn paths() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(ID.to_owned()),
        Just(format!("pod{UID}")),
        "(docker|libpod|crio|cri-containerd|machine|lxc\\.payload\\.|kubepods|user|user@|systemd-nspawn@|qemu)",
        "(-|:|\\.|/|@|_)",
        "\\.(scope|service|slice)",
        "\\\\x[0-9a-f]{0,2}",
        "\\PC{0,3}",
        ".{0,3}",
        "[0-9]{1,12}",
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

#[test]
fn text_that_is_no_path_of_the_kernel_is_left_out() {
    assert_eq!(of_process("0::\u{2003}\n1:name=systemd:x"), None);
}

proptest! {
    #[test]
    fn any_path_yields_presentable_names(path in paths(), anything in ".{0,200}") {
        for path in [path, anything] {
            let Owner { container, pod, unit, user: _ } = owner(&path);
            let short = container.as_ref().map(|container| container.short().to_owned());
            let names = [container.map(|container| container.id), short, pod, unit];
            for name in names.into_iter().flatten() {
                prop_assert!(text::is_presentable(&name), "{name:?} of {path:?}");
            }
            if let Some((path, _)) = of_process(&format!("0::{path}\n{path}")) {
                prop_assert!(text::is_presentable(&path), "{path:?}");
            }
        }
    }
}
