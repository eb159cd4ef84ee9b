use std::process::Command;

use super::*;

fn parse(text: &str) -> Map {
    Gather::default().parse(format!("{text}\n@end\n").as_bytes()).unwrap()
}

fn fact<'a>(facts: &'a Map, path: &str) -> &'a Val {
    let mut names = path.split('.');
    let first = names.next().unwrap();
    let start = facts.get(format!("ansible_{first}").as_str()).unwrap_or(&Val::Null);
    names.fold(start, |value, name| value.get(name).unwrap_or(&Val::Null))
}

/// A section of raw text.
fn section(name: &str, text: &str) -> String {
    let body: String = text.lines().map(|l| format!(" {l}\n")).collect();
    format!("@{name}\n{body}\n")
}

#[test]
fn distributions() {
    let uname = section("uname", "Linux\n6.1\n#1\nx86_64\nh") + "@present\n";
    let rocky = "NAME=\"Rocky Linux\"\nVERSION=\"9.4 (Blue Onyx)\"\nID=\"rocky\"\nVERSION_ID=\"9.4\"";
    let ubuntu = "PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian";
    let alpine = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3";
    let leap = "NAME=\"openSUSE Leap\"\nVERSION=\"15.6\"\nID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"";
    let amazon = "NAME=\"Amazon Linux\"\nVERSION=\"2023\"\nID=\"amzn\"\nVERSION_ID=\"2023\"";
    let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\nVERSION_CODENAME=bookworm";
    let centos7 = "NAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nID=\"centos\"\nVERSION_ID=\"7\"";
    let rhel = "NAME=\"Red Hat Enterprise Linux\"\nVERSION=\"9.4 (Plow)\"\nID=\"rhel\"\nVERSION_ID=\"9.4\"";
    let fedora = "NAME=\"Fedora Linux\"\nVERSION=\"41 (Server Edition)\"\nID=fedora\nVERSION_ID=41\nVERSION_CODENAME=\"\"";
    let nixos = "NAME=NixOS\nID=nixos\nVERSION_ID=\"24.05\"\nVERSION_CODENAME=uakari";
    for (files, name, version, major, release, family) in [
        (
            vec![("/etc/os-release", debian), ("/etc/debian_version", "12.11")],
            "Debian",
            "12.11",
            "12",
            "bookworm",
            "Debian",
        ),
        (
            vec![("/etc/os-release", ubuntu), ("/etc/debian_version", "trixie/sid")],
            "Ubuntu",
            "24.04",
            "24",
            "noble",
            "Debian",
        ),
        (
            vec![("/etc/os-release", rocky), ("/etc/redhat-release", "Rocky Linux release 9.4 (Blue Onyx)")],
            "Rocky",
            "9.4",
            "9",
            "Blue Onyx",
            "RedHat",
        ),
        (
            vec![
                ("/etc/os-release", rhel),
                ("/etc/redhat-release", "Red Hat Enterprise Linux release 9.4 (Plow)"),
            ],
            "RedHat",
            "9.4",
            "9",
            "Plow",
            "RedHat",
        ),
        (
            vec![
                ("/etc/os-release", centos7),
                ("/etc/centos-release", "CentOS Linux release 7.9.2009 (Core)"),
                ("/etc/redhat-release", "CentOS Linux release 7.9.2009 (Core)"),
            ],
            "CentOS",
            "7.9",
            "7",
            "Core",
            "RedHat",
        ),
        (
            vec![("/etc/os-release", fedora), ("/etc/redhat-release", "Fedora release 41 (Forty One)")],
            "Fedora",
            "41",
            "41",
            "",
            "RedHat",
        ),
        (
            vec![("/etc/os-release", alpine), ("/etc/alpine-release", "3.20.3")],
            "Alpine",
            "3.20.3",
            "3",
            "NA",
            "Alpine",
        ),
        (vec![("/etc/os-release", leap)], "openSUSE Leap", "15.6", "15", "6", "Suse"),
        (
            vec![("/etc/os-release", amazon), ("/etc/system-release", "Amazon Linux release 2023")],
            "Amazon",
            "2023",
            "2023",
            "NA",
            "RedHat",
        ),
        (vec![("/etc/os-release", nixos)], "NixOS", "24.05", "24", "uakari", "NixOS"),
    ] {
        let files: String = files.iter().map(|(path, text)| section(&format!("file {path}"), text)).collect();
        let facts = parse(&format!("{uname}{files}"));
        for (key, wanted) in [
            ("distribution", name),
            ("distribution_version", version),
            ("distribution_major_version", major),
            ("distribution_release", release),
            ("os_family", family),
        ] {
            assert_eq!(fact(&facts, key), &Val::from(wanted), "{name} {key}");
        }
    }
}

#[test]
fn package_and_service_managers() {
    let uname = section("uname", "Linux\n6.1\n#1\nx86_64\nh") + "@present\n";
    let debian = section("file /etc/os-release", "ID=debian\nNAME=Debian");
    let rocky = section("file /etc/redhat-release", "Rocky Linux release 9.4");
    for (distribution, managers, wanted) in [
        (&debian, "/usr/bin/apt-get\n/usr/bin/zypper", "apt"),
        (&rocky, "/usr/bin/yum\n/usr/bin/dnf\nlink /usr/bin/dnf dnf-3", "dnf"),
        (&rocky, "/usr/bin/dnf\nlink /usr/bin/dnf dnf5", "dnf5"),
        (&rocky, "/usr/bin/dnf\n/run/ostree-booted", "atomic_container"),
        (&section("file /etc/alpine-release", "3.20"), "/sbin/apk", "apk"),
        (&section("file /etc/alpine-release", "3.20"), "", "unknown"),
    ] {
        let facts = parse(&format!("{uname}{distribution}{}", section("pkg_mgrs", managers)));
        assert_eq!(fact(&facts, "pkg_mgr"), &Val::from(wanted), "{managers}");
    }
    for (init, wanted) in [
        ("comm systemd", "systemd"),
        ("comm runit-init", "runit"),
        ("comm sh\nhas systemctl\n/run/systemd/system/", "systemd"),
        ("comm init\n/sbin/openrc\n/etc/init.d/", "openrc"),
        ("comm bash\nhas systemctl\ninit_link /lib/systemd/systemd\n/etc/init.d/", "systemd"),
        ("comm init\n/etc/init.d/", "sysvinit"),
        ("comm tini", "tini"),
        ("comm bash", "service"),
    ] {
        let facts = parse(&format!("{uname}{}", section("init", init)));
        assert_eq!(fact(&facts, "service_mgr"), &Val::from(wanted), "{init}");
    }
}

#[test]
fn networks() {
    let text = section(
        "net eth0",
        "address 02:fc:00:00:00:01\nmtu 1400\noperstate up\ntype 1\nspeed -1\nflags 0x1103\npciid virtio2",
    ) + &section(
        "net br-lan",
        "mtu 1500\noperstate down\ntype 1\nbridge yes\nbridge_id 8000.1\nstp_state 0\nport eth1",
    ) + &section("route4", "8.8.8.8 via 192.0.2.1 dev eth0 src 192.0.2.2 uid 0 \n    cache")
        + &section(
            "addresses",
            "2: eth0@if9: <UP> mtu 1400\n    link/ether 02:fc:00:00:00:01 brd ff\n    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\n       valid_lft forever\n    inet 10.0.0.9/32 scope global eth0:1\n    inet6 fd00::2/64 scope global \n    inet6 fe80::1 peer fe80::2/64 scope link",
        )
        + &section(
            "secondaries",
            "2: eth0: <UP>\n    inet 192.0.2.3/24 brd 192.0.2.255 scope global secondary eth0",
        )
        + &section(
            "local4",
            "local 127.0.0.0/8 dev lo\nbroadcast 192.0.2.255 dev eth0\nlocal 192.0.2.2 dev eth0",
        );
    let facts = parse(&text);
    for (path, wanted) in [
        ("default_ipv4.gateway", Val::from("192.0.2.1")),
        ("default_ipv4.address", Val::from("192.0.2.2")),
        ("default_ipv4.netmask", Val::from("255.255.255.0")),
        ("default_ipv4.network", Val::from("192.0.2.0")),
        ("default_ipv4.alias", Val::from("eth0")),
        ("default_ipv4.mtu", Val::from(1400)),
        ("default_ipv4.macaddress", Val::from("02:fc:00:00:00:01")),
        ("default_ipv6", Val::map(Map::new())),
        ("eth0.ipv4.broadcast", Val::from("192.0.2.255")),
        ("eth0.ipv4.prefix", Val::from("24")),
        ("eth0.promisc", Val::from(true)),
        ("eth0.speed", Val::from(-1)),
        ("eth0.active", Val::from(true)),
        ("br_lan.type", Val::from("bridge")),
        ("br_lan.interfaces", Val::from(vec!["eth1"])),
        ("br_lan.stp", Val::from(false)),
        ("all_ipv4_addresses", Val::from(vec!["192.0.2.2", "10.0.0.9", "192.0.2.3"])),
        ("all_ipv6_addresses", Val::from(vec!["fd00::2", "fe80::1"])),
        ("interfaces", Val::from(vec!["eth0", "br-lan", "eth0_1"])),
        ("locally_reachable_ips.ipv4", Val::from(vec!["127.0.0.0/8", "192.0.2.2"])),
    ] {
        assert_eq!(fact(&facts, path), &wanted, "{path}");
    }
    assert_eq!(fact(&facts, "eth0.ipv4_secondaries").as_list().unwrap().len(), 2);
}

#[test]
fn hardware() {
    let cpu = |n: i32, siblings: i32, cores: i32| -> String {
        (0..n).map(|i| format!("processor\t: {i}\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nphysical id\t: 0\nsiblings\t: {siblings}\ncore id\t: {}\ncpu cores\t: {cores}\nflags\t: vme sse\n", i % cores)).collect()
    };
    let text = section("uname", "Linux\n6.1\n#1\nx86_64\nh")
        + &section("file /proc/cpuinfo", &cpu(4, 4, 2))
        + &section(
            "file /proc/meminfo",
            "MemTotal: 8192000 kB\nMemFree: 1024000 kB\nBuffers: 1024 kB\nCached: 2048 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nSwapCached: 0 kB",
        )
        + &section("file /proc/uptime", "3177.50 100.0")
        + &section("dmi", "product_name VMware7,1\nchassis_type 1")
        + &section(
            "file /etc/mtab",
            "/dev/sda1 / ext4 rw,relatime 0 1\n/dev/sda1 /mnt/a\\040b ext4 rw 0 0\nproc /proc proc rw 0 0\nnas:/x /nas nfs4 rw 0 0",
        )
        + &section("statfs", "/ 4096 4096 1000 400 100 40")
        + &section("findmnt", "/ /dev/sda1\n/mnt/a b /dev/sda1[/x]")
        + &section("uuids", "/dev/sda1 1234-5678");
    let facts = parse(&text);
    for (path, wanted) in [
        ("processor_count", Val::from(1)),
        ("processor_cores", Val::from(2)),
        ("processor_threads_per_core", Val::from(2)),
        ("processor_vcpus", Val::from(4)),
        ("processor_nproc", Val::from(4)),
        ("flags", Val::from(vec!["vme", "sse"])),
        ("memtotal_mb", Val::from(8000)),
        ("memory_mb.nocache.free", Val::from(1003)),
        ("memory_mb.swap.used", Val::from(0)),
        ("uptime_seconds", Val::from(3177)),
        ("product_name", Val::from("VMware7,1")),
        ("form_factor", Val::from("Other")),
        ("bios_date", Val::from("NA")),
    ] {
        assert_eq!(fact(&facts, path), &wanted, "{path}");
    }
    let mounts = fact(&facts, "mounts").as_list().unwrap();
    assert_eq!(mounts.len(), 3);
    assert_eq!(mounts[0].get("size_available"), Some(&Val::from(4096 * 400)));
    assert_eq!(mounts[0].get("block_used"), Some(&Val::from(600)));
    assert_eq!(mounts[0].get("uuid"), Some(&Val::from("1234-5678")));
    assert_eq!(mounts[1].get("mount"), Some(&Val::from("/mnt/a b")));
    assert_eq!(mounts[2].get("device"), Some(&Val::from("nas:/x")));
    assert_eq!(mounts[2].get("uuid"), Some(&Val::from("N/A")));
}

#[test]
fn virtual_machines_and_containers() {
    for (text, kind, role) in [
        (section("virt", "sys_vendor QEMU"), "kvm", "guest"),
        (section("virt", "product_name VMware Virtual Platform"), "VMware", "guest"),
        (section("virt", "bios_vendor innotek GmbH"), "virtualbox", "guest"),
        (section("virt", "/.dockerenv\nsys_vendor QEMU"), "docker", "guest"),
        (section("virt", "container lxc"), "lxc", "guest"),
        (section("virt", "/dev/kvm"), "kvm", "host"),
        (section("virt", "") + &section("file /proc/1/cgroup", "0::/docker/abc"), "docker", "guest"),
        (section("virt", "") + &section("container", "container=podman"), "podman", "guest"),
        (section("virt", "/proc/xen") + &section("xen_host", "control_d"), "xen", "host"),
        (section("virt", "/proc/xen"), "xen", "guest"),
        (section("virt", ""), "NA", "NA"),
    ] {
        let facts = parse(&text);
        assert_eq!(fact(&facts, "virtualization_type"), &Val::from(kind), "{text}");
        assert_eq!(fact(&facts, "virtualization_role"), &Val::from(role), "{text}");
    }
}

#[test]
fn subsets_are_resolved_as_ansible_resolves_them() {
    let resolve = |subset: &[&str]| {
        let gather = Gather { subset: subset.iter().map(ToString::to_string).collect(), ..Gather::default() };
        gather.collectors().map(|c| c.into_iter().collect::<Vec<_>>().join(" "))
    };
    let minimal = MINIMAL.join(" ");
    for (subset, wanted) in [
        (vec!["min"], minimal.clone()),
        (vec!["!all"], minimal.clone()),
        (vec!["!all", "!min"], String::new()),
        (vec!["!all", "!min", "network"], "network".into()),
        (vec!["!min", "user_id", "!nonsense"], "user".into()),
        (vec!["!all", "!min", "mounts"], "hardware".into()),
    ] {
        assert_eq!(resolve(&subset).unwrap(), wanted, "{subset:?}");
    }
    let all = resolve(&["all", "!hardware"]).unwrap();
    assert!(all.contains("network") && !all.contains("hardware"));
    let bad = resolve(&["networking"]).unwrap_err();
    assert!(bad.starts_with(
        "Bad subset 'networking' given to Ansible. gather_subset options allowed: all, all_ipv4"
    ));
}

#[test]
fn filters_and_cut_output() {
    let text = section("uname", "Linux\n6.1\n#1\nx86_64\nweb.example.com") + "@end\n";
    let gather = Gather { filter: vec!["host*".into(), "ansible_ker*".into()], ..Gather::default() };
    let facts = gather.parse(text.as_bytes()).unwrap();
    let names: Vec<&str> = facts.keys().filter_map(Val::as_str).collect();
    assert_eq!(names, ["ansible_kernel", "ansible_kernel_version", "ansible_hostname"]);
    assert!(gather.parse(b"@uname\n Linux\n").unwrap_err().contains("cut off"));
    assert!(gather.parse(b"bash: not found\n").is_err());
}

#[test]
fn small_ones() {
    let text = section("environ", "A=1\u{1}B=x\ny=z\u{1}")
        + &section("file /proc/cmdline", "ro console=tty0 console=ttyS0 q=\"a b\"")
        + &section(
            "file /etc/resolv.conf",
            "# c\nnameserver 1.1.1.1\nnameserver 9.9.9.9\nsearch a b\noptions ndots:5 rotate\ndomain d",
        )
        + &section("lsb", "Distributor ID:\tDebian\nRelease:\t12")
        + &section("caps", "Current: = cap_chown,cap_kill+ep\nBounding set =x")
        + &section("selinux", "enforce 1\npolicyvers 33")
        + &section("file /etc/selinux/config", "# x\nSELINUX=enforcing\nSELINUXTYPE=targeted")
        + &section("hostkey rsa", "ssh-rsa AAAA root@h")
        + &section("chroot", "\n1 2\n1 2")
        + "@facts_d\n"
        + &section("local - a", "{\"x\": [1]}")
        + &section("local 0 b", "[General]\nKey = Value # not a comment\nother: 2")
        + &section("local 3 c", "broken")
        + &section("local - d", "nonsense")
        + &section(
            "date",
            "2024 03 01 12 00 05 Friday 5 09 1709290805\nCET +0100\n2024-03-01T11:00:05\n123456789\nCET +0100\nCEST +0200",
        )
        + &section("id", "deploy\n1000\n1001\n1000\n1001")
        + &section("passwd", "deploy:x:1000:1001:D,,,:/home/deploy:/bin/sh");
    let facts = parse(&text);
    for (path, wanted) in [
        ("env.A", Val::from("1")),
        ("env.B", Val::from("x\ny=z")),
        ("cmdline.console", Val::from("ttyS0")),
        ("proc_cmdline.console", Val::from(vec!["tty0", "ttyS0"])),
        ("cmdline.ro", Val::from(true)),
        ("cmdline.q", Val::from("a b")),
        ("dns.nameservers", Val::from(vec!["1.1.1.1", "9.9.9.9"])),
        ("dns.options.ndots", Val::from("5")),
        ("dns.options.rotate", Val::from(true)),
        ("dns.domain", Val::from("d")),
        ("lsb.id", Val::from("Debian")),
        ("lsb.major_release", Val::from("12")),
        ("system_capabilities", Val::from(vec!["cap_chown", "cap_kill+ep"])),
        ("system_capabilities_enforced", Val::from("True")),
        ("selinux.mode", Val::from("enforcing")),
        ("selinux.type", Val::from("targeted")),
        ("selinux.policyvers", Val::from(33)),
        ("ssh_host_key_rsa_public", Val::from("AAAA")),
        ("is_chroot", Val::from(false)),
        ("local.a.x", Val::from(vec![1])),
        ("local.b.General.key", Val::from("Value # not a comment")),
        ("local.b.General.other", Val::from("2")),
        ("local.c", Val::from("Failure executing fact script (c.fact), rc: 3, err: broken")),
        ("local.d", Val::from("error loading facts as JSON or ini - please check content: d.fact")),
        ("date_time.tz_dst", Val::from("CEST")),
        ("date_time.iso8601_micro", Val::from("2024-03-01T11:00:05.123456Z")),
        ("date_time.iso8601_basic", Val::from("20240301T120005123456")),
        ("date_time.weekday_number", Val::from("5")),
        ("user_uid", Val::from(1000)),
        ("user_gecos", Val::from("D,,,")),
        ("user_shell", Val::from("/bin/sh")),
    ] {
        assert_eq!(fact(&facts, path), &wanted, "{path}");
    }
}

/// Facts come from a host: whatever they say is never a template.
#[test]
fn nothing_from_a_host_is_a_template() {
    let facts = parse(&section("environ", "X={{ lookup('pipe', 'id') }}\u{1}"));
    let Val::Text(text) = fact(&facts, "env.X") else { panic!() };
    assert!(!text.is_template());
}

/// Runs the script itself under every shell that this machine has.
#[test]
fn the_script_says_the_same_in_every_shell() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it's");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a b.fact"), "[s]\nk=v\n").unwrap();
    let gather = Gather { fact_path: path.to_str().unwrap().into(), ..Gather::default() };
    let script = gather.script().unwrap();
    let mut seen: Vec<(String, Map)> = vec![];
    for shell in [vec!["sh"], vec!["dash"], vec!["bash"], vec!["mksh"], vec!["busybox", "ash"]] {
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .arg("-c")
            .arg(&script)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap());
        let Ok(output) = command.env("TWO_LINES", "a\nb").output() else {
            eprintln!("skipped {shell:?}: it is not installed");
            continue;
        };
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell:?}");
        assert!(output.status.success(), "{shell:?}");
        let facts = gather.parse(&output.stdout).unwrap();
        assert_eq!(fact(&facts, "local.a b.s.k"), &Val::from("v"), "{shell:?}");
        assert_eq!(fact(&facts, "env.TWO_LINES"), &Val::from("a\nb"), "{shell:?}");
        for known in
            ["kernel", "hostname", "user_id", "distribution", "processor_nproc", "memtotal_mb", "mounts"]
        {
            assert_ne!(fact(&facts, known), &Val::Null, "{shell:?} {known}");
        }
        seen.push((shell.join(" "), facts));
    }
    let steady = |facts: &Map| -> Vec<String> { facts.keys().map(Val::key_text).collect() };
    let stable = [
        "distribution_version",
        "interfaces",
        "processor",
        "cmdline",
        "fqdn",
        "virtualization_type",
        "default_ipv4",
    ];
    for (shell, facts) in &seen[1..] {
        assert_eq!(steady(facts), steady(&seen[0].1), "{shell}");
        for name in stable {
            assert_eq!(fact(facts, name), fact(&seen[0].1, name), "{shell} {name}");
        }
    }
}
