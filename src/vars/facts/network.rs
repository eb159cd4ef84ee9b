//! Interfaces, addresses and default routes.

use std::net::Ipv4Addr;

use indexmap::IndexMap;

use super::{Facts, Sections, map, value};
use crate::source::{Map, Val};

/// An interface's facts by name.
type Interfaces = IndexMap<String, Map>;

pub(super) fn add(sections: &Sections, facts: &mut Facts) {
    let mut interfaces: Interfaces =
        sections.all("net").map(|(name, body)| (name.to_string(), interface(name, body))).collect();
    if interfaces.is_empty() && sections.get("addresses").is_none() {
        return;
    }
    let mut defaults = Defaults {
        v4: route(sections.get("route4").unwrap_or_default()),
        v6: route(sections.get("route6").unwrap_or_default()),
        all4: vec![],
        all6: vec![],
    };
    for (section, secondary) in [("addresses", false), ("secondaries", true)] {
        addresses(sections.get(section).unwrap_or_default(), secondary, &mut interfaces, &mut defaults);
    }
    facts.put("default_ipv4", Val::map(defaults.v4));
    facts.put("default_ipv6", Val::map(defaults.v6));
    facts.put("all_ipv4_addresses", Val::from(defaults.all4));
    facts.put("all_ipv6_addresses", Val::from(defaults.all6));
    facts.put("interfaces", Val::from(interfaces.keys().map(|n| n.replace(':', "_")).collect::<Vec<_>>()));
    for (name, info) in interfaces {
        // As Ansible: a dash can't be in a variable's name.
        facts.put(&name.replace([':', '-'], "_"), Val::map(info));
    }
    let reachable = |section: &str| {
        let mut seen: Vec<&str> = vec![];
        for line in sections.get(section).unwrap_or_default().lines() {
            if let Some(address) = line.strip_prefix("local ").and_then(|l| l.split_whitespace().next())
                && !seen.contains(&address)
            {
                seen.push(address);
            }
        }
        Val::from(seen)
    };
    if sections.get("local4").is_some() || sections.get("local6").is_some() {
        facts.put(
            "locally_reachable_ips",
            map([("ipv4", reachable("local4")), ("ipv6", reachable("local6"))]),
        );
    }
}

/// The default routes and, once their addresses were met, what belongs to them; all addresses.
struct Defaults {
    v4: Map,
    v6: Map,
    all4: Vec<String>,
    all6: Vec<String>,
}

fn put(map: &mut Map, name: &str, value: impl Into<Val>) {
    map.insert(Val::from(name), value.into());
}

/// What /sys/class/net says.
fn interface(name: &str, body: &str) -> Map {
    let get = |key: &str| value(body, key).filter(|v| !v.is_empty());
    let mut info = Map::new();
    put(&mut info, "device", name);
    if let Some(address) = get("address").filter(|a| *a != "00:00:00:00:00:00") {
        put(&mut info, "macaddress", address);
    }
    if let Some(mtu) = get("mtu").and_then(|m| m.parse::<i64>().ok()) {
        put(&mut info, "mtu", mtu);
    }
    if let Some(state) = get("operstate") {
        put(&mut info, "active", state != "down");
    }
    if let Some(module) = get("module") {
        put(&mut info, "module", module);
    }
    if let Some(kind) = get("type") {
        let kind = match kind {
            "1" => "ether",
            "32" => "infiniband",
            "512" => "ppp",
            "772" => "loopback",
            "65534" => "tunnel",
            _ => "unknown",
        };
        put(&mut info, "type", kind);
    }
    if get("bridge").is_some() {
        put(&mut info, "type", "bridge");
        let ports: Vec<&str> = body.lines().filter_map(|l| l.strip_prefix("port ")).collect();
        put(&mut info, "interfaces", Val::from(ports));
        put(&mut info, "id", get("bridge_id").unwrap_or_default());
        put(&mut info, "stp", get("stp_state") == Some("1"));
    }
    if get("bonding").is_some() {
        put(&mut info, "type", "bonding");
        put(
            &mut info,
            "slaves",
            Val::from(get("slaves").unwrap_or_default().split_whitespace().collect::<Vec<_>>()),
        );
        for key in ["mode", "miimon", "lacp_rate"] {
            put(&mut info, key, get(key).and_then(|v| v.split_whitespace().next()).unwrap_or_default());
        }
        if let Some(primary) = get("primary") {
            put(&mut info, "primary", primary);
        }
    }
    if let Some(id) = get("pciid") {
        put(&mut info, "pciid", id);
    }
    if let Some(speed) = get("speed").and_then(|s| s.parse::<i64>().ok()) {
        put(&mut info, "speed", speed);
    }
    if let Some(flags) = get("flags").and_then(|f| i64::from_str_radix(f.trim_start_matches("0x"), 16).ok()) {
        put(&mut info, "promisc", flags & 0x100 != 0);
    }
    info
}

/// `8.8.8.8 via 192.0.2.1 dev eth0 src 192.0.2.2 uid 0`.
fn route(text: &str) -> Map {
    let words: Vec<&str> = text.lines().next().unwrap_or_default().split_whitespace().collect();
    let mut default = Map::new();
    let after = |key: &str| words.iter().position(|w| *w == key).and_then(|at| words.get(at + 1)).copied();
    for (name, key) in [("interface", "dev"), ("address", "src"), ("gateway", "via")] {
        if let Some(word) = after(key) {
            // Without a source address it's no route out.
            put(&mut default, name, word);
        }
    }
    if default.contains_key("address") { default } else { Map::new() }
}

/// What `ip addr show` prints for all interfaces.
fn addresses(text: &str, secondary: bool, interfaces: &mut Interfaces, defaults: &mut Defaults) {
    let mut device = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            // `3: eth0@if4: <…>`
            let name = words.get(1).copied().unwrap_or_default().trim_end_matches(':');
            device = name.split('@').next().unwrap_or(name).to_string();
            continue;
        }
        match words[..] {
            ["inet", address, ..] => {
                let Some(address) = inet(address, &words) else { continue };
                if !address.address.starts_with("127.") {
                    defaults.all4.push(address.address.clone());
                }
                let label = words.last().copied().unwrap_or_default();
                let info = interfaces.entry(device.clone()).or_default();
                default_of(&mut defaults.v4, &address.address, info, |default| {
                    default.extend(address.facts().into_iter().skip(1));
                    put(default, "alias", label);
                });
                let facts = Val::map(address.facts());
                let first = !secondary && label == device && !info.contains_key("ipv4");
                if first {
                    put(info, "ipv4", facts);
                } else {
                    push(info, "ipv4_secondaries", facts.clone());
                    // An alias such as `eth0:1` is an interface of its own too.
                    if label != device && !label.is_empty() {
                        let alias = interfaces.entry(label.to_string()).or_default();
                        let known =
                            if alias.contains_key("ipv4") || secondary { "ipv4_secondaries" } else { "ipv4" };
                        if known == "ipv4" { put(alias, known, facts) } else { push(alias, known, facts) }
                    }
                }
            }
            ["inet6", address, ..] => {
                let (address, scope) = match words[..] {
                    [_, address, "peer", prefix, _, scope, ..] => {
                        (format!("{address}/{}", prefix.rsplit('/').next().unwrap_or_default()), scope)
                    }
                    _ => (address.to_string(), words.get(3).copied().unwrap_or_default()),
                };
                let Some((address, prefix)) = address.split_once('/') else { continue };
                let info = interfaces.entry(device.clone()).or_default();
                push(
                    info,
                    "ipv6",
                    map([("address", address.into()), ("prefix", prefix.into()), ("scope", scope.into())]),
                );
                default_of(&mut defaults.v6, address, info, |default| {
                    put(default, "prefix", prefix);
                    put(default, "scope", scope);
                });
                if address != "::1" {
                    defaults.all6.push(address.to_string());
                }
            }
            _ => {}
        }
    }
}

/// If the default route leaves by this address, what is known of both goes together.
fn default_of(default: &mut Map, address: &str, info: &Map, more: impl FnOnce(&mut Map)) {
    if default.get("address").and_then(Val::as_str) != Some(address) {
        return;
    }
    more(default);
    for name in ["macaddress", "mtu", "type"] {
        if let Some(value) = info.get(name) {
            put(default, name, value.clone());
        }
    }
}

fn push(info: &mut Map, name: &str, value: Val) {
    let mut all = info.get(name).and_then(Val::as_list).unwrap_or_default().to_vec();
    all.push(value);
    put(info, name, Val::list(all));
}

struct Inet {
    address: String,
    broadcast: String,
    netmask: String,
    network: String,
    prefix: String,
}

impl Inet {
    fn facts(&self) -> Map {
        let entries = [
            ("address", &self.address),
            ("broadcast", &self.broadcast),
            ("netmask", &self.netmask),
            ("network", &self.network),
            ("prefix", &self.prefix),
        ];
        entries.into_iter().map(|(k, v)| (Val::from(k), Val::from(v.as_str()))).collect()
    }
}

fn inet(address: &str, words: &[&str]) -> Option<Inet> {
    // A point-to-point address has no prefix.
    let (address, prefix) = address.split_once('/').unwrap_or((address, "32"));
    let bits: u32 = prefix.parse().ok().filter(|bits| *bits <= 32)?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    let number = u32::from(address.parse::<Ipv4Addr>().ok()?);
    let broadcast = match words {
        [_, _, "brd", broadcast, ..] => broadcast,
        _ => "",
    };
    Some(Inet {
        address: address.into(),
        broadcast: broadcast.into(),
        netmask: Ipv4Addr::from(mask).to_string(),
        network: Ipv4Addr::from(number & mask).to_string(),
        prefix: prefix.into(),
    })
}
