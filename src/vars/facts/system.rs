//! Facts of the platform, the user, the clock, the environment and the managers.

use super::{Facts, Sections, map};
use crate::source::{Map, Val};

pub(super) fn add(sections: &Sections, facts: &mut Facts) {
    platform(sections, facts);
    user(sections, facts);
    date_time(sections, facts);
    if let Some(environ) = sections.get("environ") {
        facts.put("env", environment(environ));
    }
    if let Some(line) = sections.file("/proc/cmdline") {
        let (last, every) = cmdline(line);
        facts.put("cmdline", last);
        facts.put("proc_cmdline", every);
    }
    if let Some(conf) = sections.file("/etc/resolv.conf") {
        facts.put("dns", dns(conf));
    }
    if sections.get("fips").is_some() {
        facts.put("fips", sections.value("fips", "fips_enabled") == Some("1"));
    }
    if let Some(load) = sections.file("/proc/loadavg") {
        let mut numbers = load.split_whitespace().map_while(|n| n.parse().ok()).map(Val::Float);
        let mut next = || numbers.next().unwrap_or_default();
        facts.put("loadavg", map([("1m", next()), ("5m", next()), ("15m", next())]));
    }
    if let Some(apparmor) = sections.get("apparmor") {
        let status = if apparmor.trim().is_empty() { "disabled" } else { "enabled" };
        facts.put("apparmor", map([("status", Val::from(status))]));
    }
    if let Some(caps) = sections.get("caps") {
        capabilities(caps, facts);
    }
    selinux(sections, facts);
    if let Some(lines) = sections.get("python") {
        python(lines, facts);
    }
    for (kind, key) in sections.all("hostkey") {
        let mut words = key.split_whitespace();
        if let (Some(key_type), Some(key)) = (words.next(), words.next()) {
            facts.put(&format!("ssh_host_key_{kind}_public"), key);
            facts.put(&format!("ssh_host_key_{kind}_public_keytype"), key_type);
        }
    }
    lsb(sections, facts);
    if let Some(chroot) = sections.get("chroot") {
        facts.put("is_chroot", is_chroot(chroot, sections.get("root").unwrap_or_default()));
    }
    if sections.get("facts_d").is_some() {
        let local = sections.all("local").filter_map(|(head, out)| local_fact(head, out));
        facts.put("local", Val::map(local.collect()));
    }
}

/// From the interpreter's path and what it answers to `-V`: `Python 3.13.0rc1`.
fn python(lines: &str, facts: &mut Facts) {
    let mut lines = lines.lines();
    let (Some(path), Some(version)) = (lines.next(), lines.next()) else { return };
    let Some(version) = version.strip_prefix("Python ").map(str::trim) else { return };
    let mut parts = version.splitn(3, '.');
    let mut number = || parts.next().and_then(|p| p.parse::<i64>().ok());
    let (Some(major), Some(minor)) = (number(), number()) else { return };
    let rest = parts.next().unwrap_or("0");
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (micro, release) = rest.split_at(digits);
    let level = match release.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "a" => "alpha",
        "b" => "beta",
        "rc" => "candidate",
        _ => "final",
    };
    let serial = release.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<i64>().unwrap_or(0);
    let micro = micro.parse::<i64>().unwrap_or(0);
    let values = [major.into(), minor.into(), micro.into(), Val::from(level), serial.into()];
    let names = ["major", "minor", "micro", "releaselevel", "serial"].map(Val::from);
    facts.put("python_version", version);
    facts.put(
        "python",
        map([
            ("executable", Val::from(path)),
            ("type", Val::from("cpython")),
            ("has_sslcontext", Val::Bool(true)),
            ("version", Val::map(names.into_iter().zip(values.clone()).collect())),
            ("version_info", Val::list(values.to_vec())),
        ]),
    );
}

fn platform(sections: &Sections, facts: &mut Facts) {
    let Some(uname) = sections.get("uname") else { return };
    let uname: Vec<&str> = uname.lines().collect();
    let [system, release, version, machine, node] = uname[..] else { return };
    facts.put("system", system);
    facts.put("kernel", release);
    facts.put("kernel_version", version);
    facts.put("machine", machine);
    facts.put("nodename", node);
    facts.put("hostname", node.split('.').next().unwrap_or(node));
    let fqdn = full_name(node, sections.get("names").unwrap_or_default());
    facts.put("domain", fqdn.split_once('.').map_or("", |(_, domain)| domain));
    facts.put("fqdn", fqdn);
    let bits = sections.get("bits").unwrap_or_default().trim();
    if !bits.is_empty() {
        facts.put("userspace_bits", bits);
    }
    let is_x86_32 = machine == "i86pc" || matches!(machine.as_bytes(), [b'i', b'3'..=b'6', b'8', b'6', ..]);
    facts.put("architecture", if is_x86_32 { "i386" } else { machine });
    if machine == "x86_64" || is_x86_32 {
        match bits {
            "64" => facts.put("userspace_architecture", "x86_64"),
            "32" => facts.put("userspace_architecture", "i386"),
            _ => {}
        }
    }
    let id = sections.file("/var/lib/dbus/machine-id").or_else(|| sections.file("/etc/machine-id"));
    if let Some(id) = id.and_then(|id| id.lines().next()) {
        facts.put("machine_id", id);
    }
}

/// As `socket.getfqdn`: the first name of the address that has a dot, else its first name.
/// `names` is `address name alias…`.
fn full_name<'a>(node: &'a str, names: &'a str) -> &'a str {
    let names: Vec<&str> = names.lines().next().unwrap_or_default().split_whitespace().skip(1).collect();
    names.iter().find(|n| n.contains('.')).or(names.first()).copied().unwrap_or(node)
}

fn user(sections: &Sections, facts: &mut Facts) {
    let Some(id) = sections.get("id") else { return };
    let mut ids = id.lines();
    let name = ids.next().unwrap_or_default();
    let mut number = || Val::from(ids.next().and_then(|n| n.parse::<i64>().ok()));
    let (uid, gid, real_uid, real_gid) = (number(), number(), number(), number());
    facts.put("user_id", name);
    let passwd = sections.get("passwd").unwrap_or_default();
    let fields: Vec<&str> = passwd.lines().next().unwrap_or_default().split(':').collect();
    let as_number = |text: &str, other: &Val| text.parse().map_or_else(|_| other.clone(), Val::Int);
    let field = |n: usize| fields.get(n).copied().unwrap_or_default();
    facts.put("user_uid", as_number(field(2), &uid));
    facts.put("user_gid", as_number(field(3), &gid));
    facts.put("user_gecos", field(4));
    facts.put("user_dir", field(5));
    facts.put("user_shell", field(6));
    facts.put("effective_user_id", uid);
    facts.put("effective_group_id", gid);
    facts.put("real_user_id", real_uid);
    facts.put("real_group_id", real_gid);
}

fn date_time(sections: &Sections, facts: &mut Facts) {
    let Some(date) = sections.get("date") else { return };
    let lines: Vec<&str> = date.lines().collect();
    let local: Vec<&str> = lines.first().map(|l| l.split_whitespace().collect()).unwrap_or_default();
    let [year, month, day, hour, minute, second, weekday, weekday_number, week, epoch] = local[..] else {
        return;
    };
    let zone = |n: usize| lines.get(n).and_then(|l| l.split_once(' '));
    let (tz, offset) = zone(1).unwrap_or(("UTC", "+0000"));
    let utc = lines.get(2).copied().unwrap_or_default();
    // Where the clock has no nanoseconds, `date` prints something else.
    let nanos = lines.get(3).filter(|n| n.len() == 9 && n.bytes().all(|b| b.is_ascii_digit()));
    let micros = nanos.map_or("000000", |n| &n[..6]);
    let seconds_east = |offset: &str| offset.parse::<i64>().unwrap_or_default();
    let summer = match (zone(4), zone(5)) {
        (Some((january, east_january)), Some((july, east_july))) => {
            if seconds_east(east_january) > seconds_east(east_july) { january } else { july }
        }
        _ => tz,
    };
    let text = |s: &str| Val::from(s);
    let all = [
        ("year", text(year)),
        ("month", text(month)),
        ("weekday", text(weekday)),
        ("weekday_number", text(weekday_number)),
        ("weeknumber", text(week)),
        ("day", text(day)),
        ("hour", text(hour)),
        ("minute", text(minute)),
        ("second", text(second)),
        ("epoch", text(epoch)),
        ("epoch_int", text(epoch)),
        ("date", Val::from(format!("{year}-{month}-{day}"))),
        ("time", Val::from(format!("{hour}:{minute}:{second}"))),
        ("iso8601_micro", Val::from(format!("{utc}.{micros}Z"))),
        ("iso8601", Val::from(format!("{utc}Z"))),
        ("iso8601_basic", Val::from(format!("{year}{month}{day}T{hour}{minute}{second}{micros}"))),
        ("iso8601_basic_short", Val::from(format!("{year}{month}{day}T{hour}{minute}{second}"))),
        ("tz", text(tz)),
        ("tz_dst", text(summer)),
        ("tz_offset", text(offset)),
    ];
    facts.put("date_time", map(all));
}

/// `NAME=value`, ended by \x01 where the host's `env` has `-0`; else one a line.
fn environment(environ: &str) -> Val {
    let environ = environ.strip_suffix('\n').unwrap_or(environ);
    let end = if environ.contains('\u{1}') { '\u{1}' } else { '\n' };
    let pairs = environ.split(end).filter_map(|entry| entry.split_once('='));
    Val::map(pairs.map(|(name, value)| (Val::from(name), Val::from(value))).collect())
}

/// The kernel's command line: the last value of each word, and all of those given twice.
fn cmdline(line: &str) -> (Val, Val) {
    let (mut last, mut every) = (Map::new(), Map::new());
    for word in
        shell_words::split(line).unwrap_or_else(|_| line.split_whitespace().map(String::from).collect())
    {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (Val::from(name), Val::from(value)),
            None => (Val::from(word), Val::Bool(true)),
        };
        last.insert(name.clone(), value.clone());
        let known = every.entry(name).or_insert(Val::Null);
        *known = match std::mem::take(known) {
            Val::Null => value,
            Val::List(values) => {
                let mut values = (*values).clone();
                values.push(value);
                Val::list(values)
            }
            first => Val::list(vec![first, value]),
        };
    }
    (Val::map(last), Val::map(every))
}

fn dns(conf: &str) -> Val {
    let mut dns = Map::new();
    for line in conf.lines().filter(|l| !l.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        let Some(key) = words.next() else { continue };
        let words: Vec<&str> = words.collect();
        let mut add = |name: &str| {
            let known = dns.entry(Val::from(name)).or_insert_with(|| Val::list(vec![]));
            let mut all = known.as_list().unwrap_or_default().to_vec();
            all.extend(words.iter().map(|w| Val::from(*w)));
            *known = Val::list(all);
        };
        match key {
            "nameserver" => add("nameservers"),
            "search" => add("search"),
            "sortlist" => add("sortlist"),
            "domain" => {
                if let Some(domain) = words.first() {
                    dns.insert(Val::from("domain"), Val::from(*domain));
                }
            }
            "options" => {
                let options = words.iter().map(|option| match option.split_once(':') {
                    Some((name, value)) => (Val::from(name), Val::from(value)),
                    None => (Val::from(*option), Val::Bool(true)),
                });
                dns.insert(Val::from("options"), Val::map(options.collect()));
            }
            _ => {}
        }
    }
    Val::map(dns)
}

fn capabilities(caps: &str, facts: &mut Facts) {
    let (mut enforced, mut all) = ("NA", vec![]);
    for line in caps.lines() {
        if let Some(current) = line.strip_prefix("Current:") {
            let current = current.trim().trim_start_matches('=').trim();
            if current == "ep" {
                enforced = "False";
            } else {
                enforced = "True";
                all = current.split(',').map(|c| Val::from(c.trim())).collect();
            }
        }
    }
    facts.put("system_capabilities_enforced", enforced);
    facts.put("system_capabilities", Val::list(all));
}

fn selinux(sections: &Sections, facts: &mut Facts) {
    if sections.get("selinux").is_none() {
        return;
    }
    // Whether roles may manage it; nothing here needs Python's bindings for that.
    facts.put("selinux_python_present", true);
    let Some(enforce) = sections.value("selinux", "enforce") else {
        facts.put("selinux", map([("status", Val::from("disabled"))]));
        return;
    };
    let config = sections.file("/etc/selinux/config").unwrap_or_default();
    let configured = |key: &str| {
        config.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).map_or("unknown", str::trim)
    };
    let version = sections.value("selinux", "policyvers").and_then(|v| v.parse::<i64>().ok());
    facts.put(
        "selinux",
        map([
            ("status", Val::from("enabled")),
            ("policyvers", version.map_or_else(|| Val::from("unknown"), Val::Int)),
            ("config_mode", Val::from(configured("SELINUX"))),
            ("mode", Val::from(if enforce == "1" { "enforcing" } else { "permissive" })),
            ("type", Val::from(configured("SELINUXTYPE"))),
        ]),
    );
}

fn lsb(sections: &Sections, facts: &mut Facts) {
    const NAMES: [(&str, &str, &str); 4] = [
        ("id", "Distributor ID:", "DISTRIB_ID="),
        ("release", "Release:", "DISTRIB_RELEASE="),
        ("description", "Description:", "DISTRIB_DESCRIPTION="),
        ("codename", "Codename:", "DISTRIB_CODENAME="),
    ];
    let by_tool = sections.get("lsb").unwrap_or_default();
    let by_file = sections.file("/etc/lsb-release").unwrap_or_default();
    let mut lsb = Map::new();
    for (name, tool, file) in NAMES {
        let find = |text: &str, prefix: &str| {
            text.lines().find_map(|l| {
                l.strip_prefix(prefix).map(|v| v.trim().trim_matches(['\'', '"', '\\']).to_string())
            })
        };
        let found = if by_tool.trim().is_empty() { find(by_file, file) } else { find(by_tool, tool) };
        if let Some(value) = found {
            lsb.insert(Val::from(name), Val::from(value));
        }
    }
    let major = lsb.get("release").and_then(Val::as_str).and_then(|r| r.split('.').next()).map(Val::from);
    if let Some(major) = major {
        lsb.insert(Val::from("major_release"), major);
    }
    if !lsb.is_empty() || sections.get("lsb").is_some() || sections.file("/etc/lsb-release").is_some() {
        facts.put("lsb", Val::map(lsb));
    }
}

/// `chroot`: the variable, then device and inode of `/` and of process 1's `/`; `root`: the inode
/// of `/` and the kind of its file system, for those who can't see process 1.
fn is_chroot(chroot: &str, root: &str) -> bool {
    let lines: Vec<&str> = chroot.lines().collect();
    match lines[..] {
        [variable, ..] if !variable.is_empty() => true,
        [_, mine, first] => mine != first,
        _ => {
            let mut root = root.lines();
            let inode = root.next().unwrap_or_default();
            let top = match root.next().unwrap_or_default() {
                "btrfs" => "256",
                "xfs" => "128",
                _ => "2",
            };
            !inode.is_empty() && inode != top
        }
    }
}

/// One file of `fact_path`: `head` is its exit status (`-` if it was only read) and name.
fn local_fact(head: &str, out: &str) -> Option<(Val, Val)> {
    let (status, name) = head.split_once(' ')?;
    let fact = if status == "gone" {
        Val::from(format!("Could not stat fact ({}): no such file", out.trim_end()))
    } else if !matches!(status, "-" | "0") {
        Val::from(format!(
            "Failure executing fact script ({name}.fact), rc: {status}, err: {}",
            out.trim_end()
        ))
    } else if let Ok(json) = serde_json::from_str(out) {
        Val::from_json(&json)
    } else {
        ini(out, name).unwrap_or_else(|| {
            Val::from(format!("error loading facts as JSON or ini - please check content: {name}.fact"))
        })
    };
    Some((Val::from(name), fact))
}

/// As Python's ConfigParser: option names in small letters, values as text.
fn ini(text: &str, fact: &str) -> Option<Val> {
    let mut sections: Vec<(Val, Map)> = vec![];
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            sections.push((Val::from(name), Map::new()));
        } else {
            let at = line.find(['=', ':'])?;
            let (name, value) = (line[..at].trim().to_lowercase(), line[at + 1..].trim());
            let plain = value.replace("%%", "");
            if plain.contains('%') && !plain.contains("%(") {
                let why = format!("'%' must be followed by '%' or '(', found: '{value}'");
                return Some(Val::from(format!(
                    "error loading facts as ini - please check content: {fact}.fact ({why})"
                )));
            }
            sections.last_mut()?.1.insert(Val::from(name), Val::from(value.replace("%%", "%")));
        }
    }
    Some(Val::map(sections.into_iter().map(|(name, options)| (name, Val::map(options))).collect()))
}

/// `pkg_mgr` and `service_mgr`, which depend on the distribution.
pub(super) fn add_managers(sections: &Sections, facts: &mut Facts) {
    if sections.get("pkg_mgrs").is_some() {
        let name = package_manager(sections, facts.text("os_family"));
        facts.put("pkg_mgr", name);
    }
    if let Some(init) = sections.get("init") {
        let name = service_manager(init, facts.text("system"), facts.text("distribution"));
        facts.put("service_mgr", name);
    }
}

fn package_manager(sections: &Sections, family: &str) -> &'static str {
    const BY_PATH: [(&str, &str); 16] = [
        ("/usr/bin/rpm-ostree", "atomic_container"),
        ("/usr/bin/yum", "dnf"),
        ("/usr/bin/dnf-3", "dnf"),
        ("/usr/bin/dnf5", "dnf5"),
        ("/usr/bin/apt-get", "apt"),
        ("/usr/bin/zypper", "zypper"),
        ("/usr/sbin/urpmi", "urpmi"),
        ("/usr/bin/pacman", "pacman"),
        ("/bin/opkg", "opkg"),
        ("/usr/pkg/bin/pkgin", "pkgin"),
        ("/sbin/apk", "apk"),
        ("/usr/sbin/pkg", "pkgng"),
        ("/usr/bin/emerge", "portage"),
        ("/usr/bin/xbps-install", "xbps"),
        ("/usr/local/sbin/pkg", "pkgng"),
        ("/usr/bin/swupd", "swupd"),
    ];
    let there = |path: &str| sections.lists("pkg_mgrs", path);
    match family {
        "RedHat" if there("/run/ostree-booted") => "atomic_container",
        "RedHat" => match ["/usr/bin/dnf", "/usr/bin/microdnf"].into_iter().find(|p| there(p)) {
            Some(path) => {
                let link = sections.value("pkg_mgrs", &format!("link {path}")).unwrap_or_default();
                if link.ends_with("dnf5") { "dnf5" } else { "dnf" }
            }
            None => "unknown",
        },
        "Debian" => "apt",
        // The last one found, as Ansible looks.
        _ => match BY_PATH.into_iter().rfind(|(path, _)| there(path)).map(|(_, name)| name) {
            Some("apt") if family == "Altlinux" => "apt_rpm",
            found => found.unwrap_or("unknown"),
        },
    }
}

fn service_manager<'a>(init: &'a str, system: &str, distribution: &str) -> &'a str {
    let process = super::value(init, "comm").or_else(|| super::value(init, "init_link"));
    let process = process.map(|p| p.rsplit('/').next().unwrap_or(p).trim());
    if let Some(process) = process.filter(|p| !p.is_empty() && *p != "init" && !p.ends_with("sh")) {
        return match process {
            "procd" => "openwrt_init",
            "runit-init" => "runit",
            "svscan" => "svc",
            "openrc-init" => "openrc",
            other => other,
        };
    }
    let has = |line: &str| init.lines().any(|l| l == line);
    let systemd_runs =
        ["/run/systemd/system/", "/dev/.run/systemd/", "/dev/.systemd/"].iter().any(|p| has(p));
    let linked = super::value(init, "init_link").is_some_and(|l| l.ends_with("/systemd") || l == "systemd");
    match system {
        _ if distribution == "OpenWrt" => "openwrt_init",
        "Linux" if has("has systemctl") && systemd_runs => "systemd",
        "Linux" if has("has initctl") && has("/etc/init/") => "upstart",
        "Linux" if has("/sbin/openrc") => "openrc",
        "Linux" if has("has systemctl") && linked => "systemd",
        "Linux" if has("/etc/init.d/") => "sysvinit",
        "Linux" if has("/etc/dinit.d/") => "dinit",
        "SunOS" => "smf",
        "AIX" => "src",
        "Darwin" => "launchd",
        bsd if bsd.contains("BSD") || bsd == "DragonFly" => "bsdinit",
        _ => "service",
    }
}
