//! Whether a host is a guest or a host of virtual machines and containers.

use std::collections::BTreeSet;

use super::{Facts, Sections};
use crate::source::Val;

/// The first answer is the fact; every answer is a technology.
#[derive(Default)]
struct Answers {
    found: Option<(String, &'static str)>,
    guest: BTreeSet<String>,
    host: BTreeSet<String>,
}

impl Answers {
    fn guest(&mut self, tech: &str) {
        self.guest.insert(tech.into());
        self.found.get_or_insert_with(|| (tech.into(), "guest"));
    }

    fn host(&mut self, tech: &str) {
        self.host.insert(tech.into());
        self.found.get_or_insert_with(|| (tech.into(), "host"));
    }
}

pub(super) fn add(sections: &Sections, facts: &mut Facts) {
    if sections.get("virt").is_none() {
        return;
    }
    let answers = answers(sections);
    let (kind, role) = answers.found.unwrap_or_else(|| ("NA".into(), "NA"));
    facts.put("virtualization_type", kind);
    facts.put("virtualization_role", role);
    let list = |set: BTreeSet<String>| Val::from(set.into_iter().collect::<Vec<_>>());
    facts.put("virtualization_tech_guest", list(answers.guest));
    facts.put("virtualization_tech_host", list(answers.host));
}

fn answers(sections: &Sections) -> Answers {
    let mut a = Answers::default();
    containers(sections, &mut a);
    if sections.lists("virt", "/proc/xen") {
        if sections.get("xen_host").is_some_and(|l| !l.trim().is_empty()) {
            a.host("xen");
        } else {
            a.found.get_or_insert_with(|| ("xen".into(), "guest"));
        }
    }
    firmware(sections, &mut a);
    for line in sections.get("vserver").unwrap_or_default().lines() {
        match line.trim_start_matches("VxID:").trim().starts_with('0') {
            true => a.host("linux_vserver"),
            false => a.guest("linux_vserver"),
        }
    }
    processors(sections.file("/proc/cpuinfo").unwrap_or_default(), &mut a);
    for module in sections.get("modules").unwrap_or_default().lines() {
        match module {
            "kvm" => a.host("kvm"),
            "vboxdrv" => a.host("virtualbox"),
            "virtio" => {
                a.host.insert("kvm".into());
                a.found.get_or_insert_with(|| ("kvm".into(), "guest"));
            }
            _ => {}
        }
    }
    if sections.lists("virt", "/dev/kvm") {
        a.host("kvm");
    }
    a
}

fn containers(sections: &Sections, a: &mut Answers) {
    for line in sections.file("/proc/1/cgroup").unwrap_or_default().lines() {
        let docker_scope = line.split_once("/docker-").is_some_and(|(_, id)| id.ends_with(".scope"));
        if line.contains("/docker/") || docker_scope {
            a.guest("docker");
        }
        if line.contains("/lxc/") || line.contains("/machine.slice/machine-lxc") {
            a.guest("lxc");
        }
        if line.contains("/system.slice/containerd.service") {
            a.guest("containerd");
        }
    }
    for line in sections.get("container").unwrap_or_default().lines() {
        for tech in ["lxc", "podman"] {
            if line.contains(&format!("container={tech}")) {
                a.guest(tech);
            }
        }
        if line.strip_prefix("container=").is_some_and(|c| !c.is_empty()) {
            a.guest("container");
        }
    }
    let there = |path: &str| sections.lists("virt", path);
    if there("/proc/vz") && !there("/proc/lve") {
        if there("/proc/bc") { a.host("openvz") } else { a.guest("openvz") }
    }
    let by_systemd = sections.value("virt", "container").filter(|c| !c.is_empty());
    if let Some(tech) = by_systemd {
        a.guest(tech);
    }
    if there("/.dockerenv") || there("/.dockerinit") {
        a.guest("docker");
    }
    let known = ["docker", "lxc", "podman", "openvz", "containerd"];
    if by_systemd.is_some() || known.iter().any(|t| a.guest.contains(*t)) {
        a.guest.insert("container".into());
    }
}

fn firmware(sections: &Sections, a: &mut Answers) {
    let dmi = |name: &str| sections.value("virt", name).unwrap_or_default();
    let (product, vendor, bios) = (dmi("product_name"), dmi("sys_vendor"), dmi("bios_vendor"));
    if matches!(product, "KVM" | "KVM Server" | "Bochs" | "AHV" | "CloudStack KVM Hypervisor") {
        a.guest("kvm");
    }
    match (vendor, product) {
        ("oVirt", _) => a.guest("oVirt"),
        ("Red Hat", _) if dmi("product_family") == "RHV" => a.guest("RHV"),
        ("Red Hat", "RHEV Hypervisor") => a.guest("RHEV"),
        _ => {}
    }
    if product.starts_with("VMware") {
        a.guest("VMware");
    }
    if matches!(product, "OpenStack Compute" | "OpenStack Nova") {
        a.guest("openstack");
    }
    match bios {
        "Xen" => a.guest("xen"),
        "innotek GmbH" => a.guest("virtualbox"),
        "Amazon EC2" | "DigitalOcean" | "Hetzner" | "Linode" => a.guest("kvm"),
        _ => {}
    }
    match vendor {
        "QEMU" | "Amazon EC2" | "DigitalOcean" | "Google" | "Scaleway" | "Nutanix" => a.guest("kvm"),
        "KubeVirt" => a.guest("KubeVirt"),
        "Microsoft Corporation" => a.guest("VirtualPC"),
        "Parallels Software International Inc." => a.guest("parallels"),
        "OpenStack Foundation" => a.guest("openstack"),
        _ => {}
    }
}

fn processors(cpuinfo: &str, a: &mut Answers) {
    for line in cpuinfo.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        match key.trim() {
            "model name" if value.contains("QEMU Virtual CPU") => a.guest("kvm"),
            "model name" if value.contains("UML") => a.guest("uml"),
            "vendor_id" if value.contains("User Mode Linux") => a.guest("uml"),
            "vendor_id" if value.contains("PowerVM Lx86") => a.guest("powervm_lx86"),
            "machine" if value.contains("CHRP IBM pSeries") && value.contains("emulated by qemu") => {
                a.guest("kvm")
            }
            _ => {}
        }
    }
}
