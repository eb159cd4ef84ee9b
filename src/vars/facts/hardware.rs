//! Processors, memory, firmware, mounts.

use indexmap::IndexMap;

use super::{Facts, Sections, map};
use crate::source::{Map, Val};

pub(super) fn add(sections: &Sections, facts: &mut Facts) {
    // /proc/cpuinfo alone can be there for the sake of virtualization.
    if sections.get("dmi").is_none() {
        return;
    }
    if let Some(cpuinfo) = sections.file("/proc/cpuinfo") {
        processors(cpuinfo, sections, facts);
    }
    if let Some(meminfo) = sections.file("/proc/meminfo") {
        memory(meminfo, facts);
    }
    let uptime = sections.file("/proc/uptime").and_then(|u| u.split(['.', ' ']).next()?.parse::<i64>().ok());
    if let Some(uptime) = uptime {
        facts.put("uptime_seconds", uptime);
    }
    firmware(sections, facts);
    for mtab in ["/etc/mtab", "/proc/mounts"] {
        if let Some(mtab) = sections.file(mtab) {
            facts.put("mounts", Val::list(mounts(mtab, sections)));
        }
    }
}

fn processors(cpuinfo: &str, sections: &Sections, facts: &mut Facts) {
    let mut listed = vec![];
    let (mut vendors, mut models, mut processors) = (0, 0, 0_i64);
    let mut sockets: IndexMap<&str, i64> = IndexMap::new();
    let mut cores: IndexMap<&str, i64> = IndexMap::new();
    let (mut socket, mut core) = ("", "");
    let is_xen = sections.lists("xen", "/proc/xen") || sections.value("xen", "type") == Some("xen");
    let mut paravirtual = false;
    for line in cpuinfo.lines() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        let number = || value.parse().unwrap_or(1);
        match key {
            "flags" => {
                paravirtual |= is_xen && !value.contains("vme");
                facts.put("flags", Val::from(value.split_whitespace().collect::<Vec<_>>()));
            }
            "model name" | "Processor" | "vendor_id" | "cpu" | "Vendor" | "processor" => {
                listed.push(Val::from(value));
                vendors += i64::from(key == "vendor_id");
                models += i64::from(key == "model name");
                processors += i64::from(key == "processor");
            }
            "physical id" => {
                socket = value;
                sockets.entry(socket).or_insert(1);
            }
            "core id" => {
                core = value;
                if !sockets.contains_key(core) {
                    cores.insert(core, 1);
                }
            }
            "cpu cores" => {
                sockets.insert(socket, number());
            }
            "siblings" => {
                cores.insert(core, number());
            }
            _ => {}
        }
    }
    let mut count = listed.len() as i64;
    if vendors > 0 && vendors == models {
        count = vendors;
    }
    if ["armv", "aarch", "ppc"].iter().any(|a| facts.text("architecture").starts_with(a)) {
        count = processors;
    }
    facts.put("processor", Val::list(listed));
    let first = |counted: &IndexMap<&str, i64>| counted.first().map(|(_, n)| *n).filter(|n| *n > 0);
    let (sockets_count, per_socket, threads) = if paravirtual {
        (count, count, 1)
    } else {
        let per_socket = first(&sockets).unwrap_or(1);
        let threads = first(&cores).unwrap_or(1) as f64 / per_socket as f64;
        // Python's round: halves go to the even number.
        (
            if sockets.is_empty() { count } else { sockets.len() as i64 },
            per_socket,
            threads.round_ties_even() as i64,
        )
    };
    facts.put("processor_count", sockets_count);
    facts.put("processor_cores", per_socket);
    facts.put("processor_threads_per_core", threads);
    facts.put("processor_vcpus", if paravirtual { count } else { threads * sockets_count * per_socket });
    let usable = sections.get("nproc").and_then(|n| n.trim().parse().ok());
    facts.put("processor_nproc", usable.unwrap_or(if paravirtual { count } else { processors }));
}

fn memory(meminfo: &str, facts: &mut Facts) {
    let mb = |key: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<i64>().ok().map(|kb| kb / 1024)
    };
    for key in ["MemTotal", "SwapTotal", "MemFree", "SwapFree"] {
        if let Some(value) = mb(key) {
            facts.put(&format!("{}_mb", key.to_lowercase()), value);
        }
    }
    let less = |a: Option<i64>, b: Option<i64>| Some(a? - b?);
    let (total, free) = (mb("MemTotal"), mb("MemFree"));
    let (swap, swap_free) = (mb("SwapTotal"), mb("SwapFree"));
    let no_cache = || Some(mb("Cached")? + free? + mb("Buffers")?);
    let real = [("total", total.into()), ("used", less(total, free).into()), ("free", free.into())];
    let nocache = [("free", no_cache().into()), ("used", less(total, no_cache()).into())];
    let swap = [
        ("total", swap.into()),
        ("free", swap_free.into()),
        ("used", less(swap, swap_free).into()),
        ("cached", mb("SwapCached").into()),
    ];
    facts.put("memory_mb", map([("real", map(real)), ("nocache", map(nocache)), ("swap", map(swap))]));
}

fn firmware(sections: &Sections, facts: &mut Facts) {
    const NAMES: [(&str, &str); 18] = [
        ("bios_date", "bios_date"),
        ("bios_vendor", "bios_vendor"),
        ("bios_version", "bios_version"),
        ("board_asset_tag", "board_asset_tag"),
        ("board_name", "board_name"),
        ("board_serial", "board_serial"),
        ("board_vendor", "board_vendor"),
        ("board_version", "board_version"),
        ("chassis_asset_tag", "chassis_asset_tag"),
        ("chassis_serial", "chassis_serial"),
        ("chassis_vendor", "chassis_vendor"),
        ("chassis_version", "chassis_version"),
        ("form_factor", "chassis_type"),
        ("product_name", "product_name"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("product_version", "product_version"),
        ("system_vendor", "sys_vendor"),
    ];
    /// By the number in chassis_type (DMTF's System Enclosure or Chassis Types).
    const FORMS: [&str; 36] = [
        "Unknown",
        "Other",
        "Unknown",
        "Desktop",
        "Low Profile Desktop",
        "Pizza Box",
        "Mini Tower",
        "Tower",
        "Portable",
        "Laptop",
        "Notebook",
        "Hand Held",
        "Docking Station",
        "All In One",
        "Sub Notebook",
        "Space-saving",
        "Lunch Box",
        "Main Server Chassis",
        "Expansion Chassis",
        "Sub Chassis",
        "Bus Expansion Chassis",
        "Peripheral Chassis",
        "RAID Chassis",
        "Rack Mount Chassis",
        "Sealed-case PC",
        "Multi-system",
        "CompactPCI",
        "AdvancedTCA",
        "Blade",
        "Blade Enclosure",
        "Tablet",
        "Convertible",
        "Detachable",
        "IoT Gateway",
        "Embedded PC",
        "Mini PC",
    ];
    for (fact, file) in NAMES {
        let value = sections.value("dmi", file).map(str::trim).filter(|v| !v.is_empty());
        let value = match (fact, value) {
            ("form_factor", Some(number)) => {
                number.parse::<usize>().ok().and_then(|n| FORMS.get(n)).copied().or(Some(number))
            }
            (_, value) => value,
        };
        facts.put(fact, value.unwrap_or("NA"));
    }
}

/// `\040` → a space.
fn unescape(text: &str) -> String {
    let mut out = vec![];
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *byte == b'\\' => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn mounts(mtab: &str, sections: &Sections) -> Vec<Val> {
    let uuids = sections.get("uuids").unwrap_or_default();
    let uuid_of = |device: &str| {
        uuids.lines().find_map(|l| {
            let (name, uuid) = l.split_once(' ')?;
            Some(uuid.trim()).filter(|uuid| name == device && !uuid.is_empty())
        })
    };
    // findmnt shows what is bound as `device[/folder]`.
    let bound: Vec<&str> = sections
        .get("findmnt")
        .unwrap_or_default()
        .lines()
        .filter(|l| l.trim_end().ends_with(']'))
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let mut mounts: IndexMap<String, Map> = IndexMap::new();
    for line in mtab.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [device, escaped, fstype, options, rest @ ..] = &fields[..] else { continue };
        let (device, mount) = (unescape(device), unescape(escaped));
        if (!device.starts_with(['/', '\\']) && !device.contains(":/")) || *fstype == "none" {
            continue;
        }
        let number = |n: usize| Val::Int(rest.get(n).and_then(|f| f.parse().ok()).unwrap_or(0));
        let is_bind = bound.contains(&&*mount) && !options.split(',').any(|o| o == "bind");
        let options = format!("{options}{}", if is_bind { ",bind" } else { "" });
        let mut info = Map::from_iter([
            (Val::from("mount"), Val::from(mount.as_str())),
            (Val::from("device"), Val::from(device.as_str())),
            (Val::from("fstype"), Val::from(*fstype)),
            (Val::from("options"), Val::from(options)),
            (Val::from("dump"), number(0)),
            (Val::from("passno"), number(1)),
        ]);
        let sizes = sections.value("statfs", escaped).unwrap_or_default();
        let sizes: Vec<i64> = sizes.split_whitespace().map_while(|n| n.parse().ok()).collect();
        if let [block, fragment, total, available, inodes, free_inodes] = sizes[..] {
            let numbers = [
                ("size_total", fragment.saturating_mul(total)),
                ("size_available", fragment.saturating_mul(available)),
                ("block_size", block),
                ("block_total", total),
                ("block_available", available),
                ("block_used", total - available),
                ("inode_total", inodes),
                ("inode_available", free_inodes),
                ("inode_used", inodes - free_inodes),
            ];
            info.extend(numbers.map(|(name, n)| (Val::from(name), Val::Int(n))));
        }
        info.insert(Val::from("uuid"), Val::from(uuid_of(&device).unwrap_or("N/A")));
        mounts.insert(mount, info);
    }
    mounts.into_values().map(Val::map).collect()
}
