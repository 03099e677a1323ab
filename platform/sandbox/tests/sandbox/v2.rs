//! The unified hierarchy of control groups, on a tree of plain files that plays the kernel.

use std::{fs, path::Path};

use evoke_sandbox::{
    CgroupKind,
    cgroup::{Bounds, Cgroup, Hierarchy, Mounts, v2},
};

fn script(root: &Path, controllers: &str) -> Mounts {
    fs::write(root.join("cgroup.controllers"), controllers).unwrap();
    // The kernel would fill the files of new directories; plain files are made as they are written.
    for below in ["evoke", "evoke/hub1"] {
        fs::create_dir_all(root.join(below)).unwrap();
        fs::write(root.join(below).join("cgroup.controllers"), controllers).unwrap();
    }
    Mounts { v1: vec![], v2: Some(root.to_owned()) }
}

#[test]
fn bounds_are_written_and_facts_are_read() {
    let root = tempfile::tempdir().unwrap();
    let mounts = script(root.path(), "cpu memory pids hugetlb");
    let hierarchy = v2::open(&mounts, "0::/\n", "evoke", "hub1").unwrap();
    assert_eq!(hierarchy.kind(), CgroupKind::V2);
    let enabled = fs::read_to_string(root.path().join("evoke/cgroup.subtree_control")).unwrap();
    assert_eq!(enabled, "+memory +pids +cpu");

    let bounds = Bounds { memory_bytes: 1 << 28, pids: 65, cpu_weight: 50 };
    let group = hierarchy.create("box", &bounds).unwrap();
    let place = root.path().join("evoke/hub1/box");
    let read = |file: &str| fs::read_to_string(place.join(file)).unwrap();
    assert_eq!(read("memory.max"), "268435456");
    assert_eq!(read("memory.oom.group"), "1");
    assert_eq!(read("pids.max"), "65");
    assert_eq!(read("cpu.weight"), "50");
    assert_eq!(group.entrance().born_in.as_deref(), Some(place.as_path()));

    check_facts(group.as_ref(), &place);
    let names: Vec<_> = hierarchy.existing().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["box"]);
}

fn check_facts(group: &dyn Cgroup, place: &Path) {
    fs::write(place.join("memory.current"), "5000\n").unwrap();
    fs::write(place.join("memory.stat"), "anon 1\ninactive_file 1000\nactive_file 7\n").unwrap();
    fs::write(place.join("memory.events"), "low 0\nmax 3\noom 2\noom_kill 1\n").unwrap();
    fs::write(place.join("cgroup.procs"), "12\n13\n").unwrap();
    assert_eq!(group.memory().unwrap(), 4000);
    assert_eq!(group.oom_kills().unwrap(), 1);
    assert_eq!(group.processes().unwrap(), [12, 13]);

    group.freeze().unwrap();
    assert_eq!(fs::read_to_string(place.join("cgroup.freeze")).unwrap(), "1");
    fs::write(place.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
    assert!(!group.is_frozen().unwrap());
    fs::write(place.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
    assert!(group.is_frozen().unwrap());
    group.thaw().unwrap();
    assert_eq!(fs::read_to_string(place.join("cgroup.freeze")).unwrap(), "0");
}

#[test]
fn a_missing_controller_is_named() {
    let root = tempfile::tempdir().unwrap();
    let missing = v2::open(&script(root.path(), "hugetlb pids"), "0::/", "evoke", "hub1");
    assert_eq!(missing.unwrap_err(), "no `memory`");
    assert_eq!(v2::open(&Mounts::default(), "", "evoke", "hub1").unwrap_err(), "not mounted");
}

#[test]
fn in_a_group_of_its_own_the_hub_makes_room() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("cgroup.controllers"), "").unwrap();
    let own = root.path().join("user.slice/app");
    fs::create_dir_all(&own).unwrap();
    let mounts = script(&own, "memory pids");
    let mounts = Mounts { v2: Some(root.path().to_owned()), ..mounts };
    let hierarchy = v2::open(&mounts, "0::/user.slice/app\n", "evoke", "hub1").unwrap();
    assert_eq!(fs::read_to_string(own.join("hub/cgroup.procs")).unwrap(), "0");
    assert!(hierarchy.existing().unwrap().is_empty());
    assert!(own.join("evoke/hub1").is_dir());
}
