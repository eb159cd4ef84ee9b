//! Which distribution a host runs, from the files that distributions leave in /etc.

use super::{Facts, Sections};

/// What is known so far; later files refine it.
#[derive(Default)]
struct Found {
    name: String,
    version: String,
    major: String,
    minor: Option<String>,
    release: String,
    path: Option<&'static str>,
    variety: Option<&'static str>,
    search: Option<&'static str>,
    parsed: bool,
}

const FAMILIES: [(&str, &[&str]); 10] = [
    (
        "RedHat",
        &[
            "RedHat",
            "RHEL",
            "Fedora",
            "CentOS",
            "Scientific",
            "SLC",
            "Ascendos",
            "CloudLinux",
            "PSBM",
            "OracleLinux",
            "OVS",
            "OEL",
            "Amazon",
            "Amzn",
            "Virtuozzo",
            "XenServer",
            "Alibaba",
            "EulerOS",
            "openEuler",
            "AlmaLinux",
            "Rocky",
            "TencentOS",
            "EuroLinux",
            "Kylin Linux Advanced Server",
            "MIRACLE",
        ],
    ),
    (
        "Debian",
        &[
            "Debian",
            "Ubuntu",
            "Raspbian",
            "Neon",
            "KDE neon",
            "Linux Mint",
            "SteamOS",
            "Devuan",
            "Kali",
            "Cumulus Linux",
            "Pop!_OS",
            "Parrot",
            "Pardus GNU/Linux",
            "Uos",
            "Deepin",
            "OSMC",
            "Linux Mint Debian Edition",
        ],
    ),
    (
        "Suse",
        &[
            "SuSE",
            "SLES",
            "SLED",
            "openSUSE",
            "openSUSE Tumbleweed",
            "SLES_SAP",
            "SUSE_LINUX",
            "openSUSE Leap",
            "ALP-Dolomite",
            "SL-Micro",
            "openSUSE MicroOS",
        ],
    ),
    ("Archlinux", &["Archlinux", "Antergos", "Manjaro"]),
    ("Mandrake", &["Mandrake", "Mandriva"]),
    ("Gentoo", &["Gentoo", "Funtoo"]),
    ("Darwin", &["MacOSX"]),
    ("FreeBSD", &["FreeBSD", "TrueOS"]),
    ("ClearLinux", &["Clear Linux OS", "Clear Linux Mix"]),
    ("DragonFly", &["DragonflyBSD", "DragonFlyBSD"]),
];

pub(super) fn add(sections: &Sections, facts: &mut Facts) {
    let Some(uname) = sections.get("uname").filter(|_| sections.get("present").is_some()) else { return };
    let uname: Vec<&str> = uname.lines().collect();
    let [system, release, version, ..] = uname[..] else { return };
    let found = if system == "Linux" { linux(sections) } else { other(system, release, version) };
    facts.put("distribution", found.name.as_str());
    facts.put("distribution_version", found.version);
    facts.put("distribution_major_version", found.major);
    if let Some(minor) = found.minor {
        facts.put("distribution_minor_version", minor);
    }
    facts.put("distribution_release", found.release);
    if let (Some(path), Some(variety)) = (found.path, found.variety) {
        facts.put("distribution_file_path", path);
        facts.put("distribution_file_variety", variety);
    }
    if let Some(search) = found.search {
        facts.put("distribution_file_search_string", search);
    }
    if found.parsed {
        facts.put("distribution_file_parsed", true);
    }
    let family = FAMILIES.iter().find(|(_, names)| names.contains(&&*found.name)).map(|(family, _)| *family);
    facts.put("os_family", family.unwrap_or(&found.name));
}

/// BSDs and others, by their kernel.
fn other(system: &str, release: &str, version: &str) -> Found {
    let number = release.split('-').next().unwrap_or(release);
    let (name, version) = match system {
        "Darwin" => ("MacOSX", number),
        "FreeBSD" | "OpenBSD" | "NetBSD" | "DragonFly" => (system, number),
        _ => (system, version),
    };
    Found {
        name: name.into(),
        version: version.into(),
        major: version.split('.').next().unwrap_or_default().into(),
        release: release.into(),
        ..Found::default()
    }
}

/// `KEY=value` of an os-release-like file, quotes off.
fn entry<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='))
        .map(|v| v.trim().trim_matches(['"', '\'']))
}

fn linux(sections: &Sections) -> Found {
    let mut found = guess(sections);
    for (path, variety) in FILES {
        if matches!(path, "/etc/vmware-release" | "/etc/arch-release") {
            if sections.lists("present", path) {
                found.name = variety.into();
                (found.path, found.variety) = (Some(path), Some(variety));
                break;
            }
            continue;
        }
        let Some(text) = sections.file(path).filter(|t| !t.trim().is_empty()) else { continue };
        if refine(&mut found, variety, path, text.trim(), sections) {
            (found.path, found.variety, found.parsed) = (Some(path), Some(variety), true);
            break;
        }
    }
    found
}

/// The files that name a distribution, in the order that they are believed.
const FILES: [(&str, &str); 21] = [
    ("/etc/altlinux-release", "Altlinux"),
    ("/etc/oracle-release", "OracleLinux"),
    ("/etc/slackware-version", "Slackware"),
    ("/etc/centos-release", "CentOS"),
    ("/etc/redhat-release", "RedHat"),
    ("/etc/vmware-release", "VMwareESX"),
    ("/etc/openwrt_release", "OpenWrt"),
    ("/etc/os-release", "Amazon"),
    ("/etc/system-release", "Amazon"),
    ("/etc/alpine-release", "Alpine"),
    ("/etc/arch-release", "Archlinux"),
    ("/etc/os-release", "Archlinux"),
    ("/etc/os-release", "SUSE"),
    ("/etc/SuSE-release", "SUSE"),
    ("/etc/gentoo-release", "Gentoo"),
    ("/etc/os-release", "Debian"),
    ("/etc/lsb-release", "Debian"),
    ("/etc/lsb-release", "Mandriva"),
    ("/usr/lib/os-release", "ClearLinux"),
    ("/etc/os-release", "Flatcar"),
    ("/etc/os-release", "NA"),
];

/// What os-release says, before any distribution's own file.
fn guess(sections: &Sections) -> Found {
    let os =
        sections.file("/etc/os-release").or_else(|| sections.file("/usr/lib/os-release")).unwrap_or_default();
    let id = entry(os, "ID").unwrap_or_default();
    let name = match id {
        "" => "OtherLinux".into(),
        "amzn" => "Amazon".into(),
        "rhel" => "Redhat".into(),
        id => capitalized(id),
    };
    let own_file = ["/etc/centos-release", "/etc/redhat-release", "/etc/system-release"];
    let own = own_file.iter().find_map(|f| sections.file(f)).unwrap_or_default();
    let (own_version, own_codename) = release_line(own);
    let short = entry(os, "VERSION_ID").filter(|v| !v.is_empty()).or(own_version).unwrap_or_default();
    let version = match id {
        // os-release has only the major number of these.
        "debian" => {
            let point = sections.file("/etc/debian_version").map(str::trim).unwrap_or_default();
            if point.matches('.').count() > short.matches('.').count() || short.is_empty() {
                point
            } else {
                short
            }
        }
        "centos" => own_version.unwrap_or(short),
        _ => short,
    };
    let version: String = if id == "centos" {
        version.split('.').take(2).collect::<Vec<_>>().join(".")
    } else {
        version.to_string()
    };
    let lsb = sections.get("lsb").unwrap_or_default();
    let lsb_codename = lsb.lines().find_map(|l| l.strip_prefix("Codename:")).map(str::trim);
    let codename = entry(os, "VERSION_CODENAME")
        .or_else(|| entry(os, "UBUNTU_CODENAME"))
        .or_else(|| entry(os, "VERSION").and_then(codename_in))
        .or(lsb_codename.filter(|c| !c.is_empty()))
        .or(own_codename);
    let or_na = |text: &str| if text.is_empty() { "NA".into() } else { text.to_string() };
    let version = or_na(&version);
    Found {
        name,
        major: or_na(version.split('.').next().unwrap_or_default()),
        version,
        release: codename.unwrap_or("NA").into(),
        ..Found::default()
    }
}

fn capitalized(id: &str) -> String {
    let mut chars = id.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().collect::<String>() + &chars.as_str().to_lowercase())
        .unwrap_or_default()
}

/// `8.10 (Green Obsidian)` or `18.04, Bionic Beaver`.
fn codename_in(version: &str) -> Option<&str> {
    let inside = version.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
    let after = || version.split_once(',').map(|(_, rest)| rest.trim());
    inside.or_else(after).filter(|c| !c.is_empty() && !c.contains(|c: char| c.is_ascii_digit()))
}

/// `CentOS Linux release 7.9.2009 (Core)`.
fn release_line(text: &str) -> (Option<&str>, Option<&str>) {
    let line = text.lines().next().unwrap_or_default();
    let version = line.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
    (version, codename_in(line))
}

/// Reads one distribution's file; false if it isn't of that distribution.
fn refine(found: &mut Found, variety: &'static str, path: &str, text: &str, sections: &Sections) -> bool {
    let first_word = text.split_whitespace().next().unwrap_or_default();
    let with_search = |found: &mut Found, search: &'static str| {
        if text.contains(search) {
            found.name = variety.into();
            found.search = Some(search);
        } else {
            found.name = first_word.into();
        }
        true
    };
    let set = |found: &mut Found, version: Option<&str>, release: Option<&str>| {
        if let Some(version) = version {
            found.version = version.into();
        }
        if let Some(release) = release {
            found.release = release.into();
        }
    };
    match variety {
        "RedHat" => with_search(found, "Red Hat"),
        "OracleLinux" => with_search(found, "Oracle Linux"),
        "Altlinux" => with_search(found, "ALT"),
        "CentOS" if text.contains("CentOS Stream") => {
            found.name = variety.into();
            found.release = "Stream".into();
            true
        }
        "CentOS" if text.contains("TencentOS Server") => {
            found.name = "TencentOS".into();
            true
        }
        "Slackware" if text.contains("Slackware") => {
            found.name = variety.into();
            set(found, text.split_whitespace().nth(1), None);
            true
        }
        "OpenWrt" if text.contains("OpenWrt") => {
            found.name = variety.into();
            set(found, entry(text, "DISTRIB_RELEASE"), entry(text, "DISTRIB_CODENAME"));
            true
        }
        "Amazon" if text.contains("Amazon") => {
            found.name = variety.into();
            if path == "/etc/os-release" {
                if let Some(version) = entry(text, "VERSION_ID") {
                    found.version = version.into();
                    let (major, minor) = version.split_once('.').unwrap_or((version, "NA"));
                    (found.major, found.minor) = (major.into(), Some(minor.into()));
                }
            } else {
                let number = text.split_whitespace().find(|w| w.bytes().all(|b| b.is_ascii_digit()));
                found.version = number.unwrap_or("NA").into();
            }
            true
        }
        "Alpine" => {
            found.name = variety.into();
            found.version = text.into();
            true
        }
        "Archlinux" if text.contains("Arch Linux") => {
            found.name = variety.into();
            true
        }
        "Gentoo" => {
            found.name = variety.into();
            true
        }
        "SUSE" if text.to_lowercase().contains("suse") => {
            suse(found, path, text);
            true
        }
        "Debian" => debian(found, path, text, sections),
        "Mandriva" if text.contains("Mandriva") => {
            found.name = variety.into();
            set(found, entry(text, "DISTRIB_RELEASE"), entry(text, "DISTRIB_CODENAME"));
            true
        }
        "ClearLinux" if entry(text, "NAME").is_some_and(|n| n.contains("Clear Linux")) => {
            found.name = entry(text, "NAME").unwrap_or_default().into();
            let version = entry(text, "VERSION_ID");
            set(found, version, entry(text, "ID"));
            found.major = version.unwrap_or(&found.major).to_string();
            true
        }
        "Flatcar" if found.name == "Flatcar" => {
            if let Some(version) = entry(text, "VERSION") {
                found.version = version.into();
                found.major = version.split('.').next().unwrap_or_default().into();
            }
            true
        }
        "NA" => {
            if let Some(name) = entry(text, "NAME") {
                found.name = name.into();
            }
            if found.version == "NA" {
                set(found, entry(text, "VERSION"), None);
            }
            true
        }
        _ => false,
    }
}

fn suse(found: &mut Found, path: &str, text: &str) {
    let small = text.to_lowercase();
    if path == "/etc/os-release" {
        if let Some(name) = entry(text, "NAME") {
            found.name = name.into();
        }
        if let Some(version) = entry(text, "VERSION_ID") {
            found.version = version.into();
            let (major, minor) = version.split_once('.').unwrap_or((version, ""));
            found.major = major.into();
            if small.contains("open") {
                found.release = minor.into();
            } else if small.contains("enterprise") {
                found.release = if minor.is_empty() { "0" } else { minor }.into();
            }
        }
    } else {
        let line = |key: &str| {
            text.lines()
                .find_map(|l| l.trim().strip_prefix(key)?.trim_start().strip_prefix('='))
                .map(str::trim)
        };
        if small.contains("open") {
            found.name = text.split_whitespace().next().unwrap_or_default().into();
            found.release = line("CODENAME").unwrap_or(&found.release).to_string();
        } else if small.contains("enterprise") {
            found.name = if text.contains("Desktop") { "SLED" } else { "SLES" }.into();
            if let Some(level) = line("PATCHLEVEL") {
                found.release = level.into();
                found.version = format!("{}.{level}", found.version);
            }
        }
    }
    match entry(text, "VARIANT_ID") {
        Some("server-sap" | "sles-sap") => found.name = "SLES_SAP".into(),
        Some("transactional") => found.name = "SL-Micro".into(),
        _ => {}
    }
}

/// Debian and what is made from it.
fn debian(found: &mut Found, path: &str, text: &str, sections: &Sections) -> bool {
    let has = |name: &str| text.contains(name);
    let version_of = |found: &mut Found, text: &str| {
        if let Some(version) = entry(text, "VERSION_ID") {
            found.version = version.into();
            found.major = version.split('.').next().unwrap_or_default().into();
        }
    };
    if has("Debian") || has("Raspbian") {
        found.name = "Debian".into();
        let pretty = entry(text, "PRETTY_NAME").unwrap_or_default();
        if let Some((_, rest)) = pretty.split_once('(') {
            found.release = rest.trim_end_matches(')').into();
        }
        let point = sections.file("/etc/debian_version").unwrap_or_default().trim();
        if let Some((_, minor)) = point.split_once('.') {
            let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
            found.minor = (!digits.is_empty()).then_some(digits);
        }
    } else if has("Ubuntu") {
        found.name = "Ubuntu".into();
    } else if has("SteamOS") {
        found.name = "SteamOS".into();
    } else if matches!(path, "/etc/lsb-release" | "/etc/os-release") && (has("Kali") || has("Parrot")) {
        found.name = if has("Kali") { "Kali" } else { "Parrot" }.into();
        if let Some(release) = entry(text, "DISTRIB_RELEASE") {
            found.release = release.into();
        }
    } else if has("Devuan") {
        found.name = "Devuan".into();
        if let Some(version) = entry(text, "VERSION_ID") {
            found.version = version.into();
            found.major = version.into();
        }
    } else if has("Cumulus") {
        found.name = "Cumulus Linux".into();
        version_of(found, text);
        if let Some(release) = entry(text, "VERSION") {
            found.release = release.into();
        }
    } else if has("Mint") {
        found.name = "Linux Mint".into();
        version_of(found, text);
    } else if has("UOS") || has("Uos") || has("uos") || has("Deepin") || has("deepin") {
        let uos = has("UOS") || has("Uos") || has("uos");
        found.name = if uos { "Uos" } else { "Deepin" }.into();
        version_of(found, text);
        if let Some(release) = entry(text, "VERSION_CODENAME") {
            found.release = release.into();
        }
    } else if has("LMDE") {
        found.name = "Linux Mint Debian Edition".into();
    } else {
        return false;
    }
    true
}
