//! Facts: one POSIX script in one round trip, and its output as Ansible's facts.
//!
//! The script only prints raw material (`facts.sh`); every decision is here, in pure functions, so
//! that a fact can be tested with text. Names, types and odd values are those of ansible-core's
//! `setup`. Nothing here needs Python; where the host has one, its place and version are facts too.

mod distribution;
mod hardware;
mod network;
mod system;
mod virtualization;

use std::collections::BTreeSet;

use crate::inventory::glob;
use crate::source::{Map, Val};

const SCRIPT: &str = include_str!("facts/facts.sh");

/// Always gathered unless `!min` is asked for.
const MINIMAL: [&str; 17] = [
    "apparmor",
    "caps",
    "cmdline",
    "date_time",
    "distribution",
    "dns",
    "env",
    "fips",
    "local",
    "lsb",
    "pkg_mgr",
    "platform",
    "python",
    "selinux",
    "service_mgr",
    "ssh_pub_keys",
    "user",
];
const BEYOND_MINIMAL: [&str; 5] = ["chroot", "hardware", "loadavg", "network", "virtual"];
/// Known to Ansible; nothing is gathered for them here.
const EMPTY: [&str; 6] = ["facter", "fibre_channel_wwn", "iscsi", "nvme", "ohai", "systemd"];

/// Facts that can be asked for by their own name, and the subset that they come with.
const ALIASES: [(&str, &str); 31] = [
    ("all_ipv4_addresses", "network"),
    ("all_ipv6_addresses", "network"),
    ("architecture", "platform"),
    ("default_ipv4", "network"),
    ("default_ipv6", "network"),
    ("devices", "hardware"),
    ("distribution_major_version", "distribution"),
    ("distribution_release", "distribution"),
    ("distribution_version", "distribution"),
    ("effective_group_ids", "user"),
    ("effective_user_id", "user"),
    ("interfaces", "network"),
    ("is_chroot", "chroot"),
    ("kernel", "platform"),
    ("kernel_version", "platform"),
    ("machine", "platform"),
    ("machine_id", "platform"),
    ("mounts", "hardware"),
    ("os_family", "distribution"),
    ("processor", "hardware"),
    ("processor_cores", "hardware"),
    ("processor_count", "hardware"),
    ("ssh_host_pub_keys", "ssh_pub_keys"),
    ("system", "platform"),
    ("system_capabilities", "caps"),
    ("user_dir", "user"),
    ("user_id", "user"),
    ("user_shell", "user"),
    ("user_uid", "user"),
    ("virtualization_role", "virtual"),
    ("virtualization_type", "virtual"),
];

/// What `setup` is asked for.
#[derive(Debug, Clone)]
pub struct Gather {
    /// `gather_subset`: `all`, `min`, `network`, `!hardware`, …
    pub subset: Vec<String>,
    /// `filter`: globs on fact names, with or without `ansible_`; empty means everything.
    pub filter: Vec<String>,
    /// `fact_path`: where `*.fact` files lie.
    pub fact_path: String,
}

impl Default for Gather {
    fn default() -> Gather {
        Gather { subset: vec!["all".into()], filter: vec![], fact_path: "/etc/ansible/facts.d".into() }
    }
}

impl Gather {
    /// The script to run with `sh` on the host: POSIX only, reads, never writes.
    ///
    /// # Errors
    /// An unknown subset, with those that exist.
    pub fn script(&self) -> Result<String, String> {
        let mut wanted = self.collectors()?;
        // Some facts are decided with the help of others.
        if ["pkg_mgr", "service_mgr", "hardware", "network", "virtual"].iter().any(|c| wanted.contains(c)) {
            wanted.extend(["platform", "distribution"]);
        }
        let wanted: Vec<&str> = wanted.into_iter().collect();
        let path = self.fact_path.replace('\'', r"'\''");
        Ok(format!("want=' {} '\nfact_path='{path}'\n{SCRIPT}", wanted.join(" ")))
    }

    /// The facts in the script's output, under Ansible's names (`ansible_…`), filter applied.
    ///
    /// # Errors
    /// Output that is cut off or isn't the script's.
    pub fn parse(&self, output: &[u8]) -> Result<Map, String> {
        let output = String::from_utf8_lossy(output);
        let sections = Sections::read(&output)?;
        let mut facts = Facts(Map::new());
        system::add(&sections, &mut facts);
        distribution::add(&sections, &mut facts);
        system::add_managers(&sections, &mut facts);
        hardware::add(&sections, &mut facts);
        virtualization::add(&sections, &mut facts);
        network::add(&sections, &mut facts);
        let mut facts = facts.0;
        facts.insert(
            Val::from("gather_subset"),
            Val::from(self.subset.iter().map(|s| &**s).collect::<Vec<_>>()),
        );
        facts.insert(Val::from("module_setup"), Val::Bool(true));
        self.apply_filter(facts)
    }

    fn apply_filter(&self, mut facts: Map) -> Result<Map, String> {
        let filters: Vec<&String> = self.filter.iter().filter(|f| !f.is_empty()).collect();
        if filters.is_empty() || filters.iter().any(|f| *f == "*") {
            return Ok(facts);
        }
        let mut globs = vec![];
        for filter in filters {
            globs.push(glob(filter).map_err(|e| e.to_string())?);
            if !["ansible_", "facter", "ohai"].iter().any(|p| filter.starts_with(p)) {
                globs.push(glob(&format!("ansible_{filter}")).map_err(|e| e.to_string())?);
            }
        }
        facts.retain(|name, _| name.as_str().is_some_and(|n| globs.iter().any(|g| g.fits(n))));
        Ok(facts)
    }

    /// The collectors that the subsets mean, as ansible-core resolves them.
    fn collectors(&self) -> Result<BTreeSet<&'static str>, String> {
        let known: BTreeSet<&'static str> = MINIMAL.into_iter().chain(BEYOND_MINIMAL).chain(EMPTY).collect();
        let minimal = BTreeSet::from(MINIMAL);
        let find = |name: &str| {
            let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, collector)| *collector);
            known.get(name).copied().or(alias)
        };
        let (mut added, mut explicit, mut excluded) = (minimal.clone(), BTreeSet::new(), BTreeSet::new());
        for subset in &self.subset {
            match subset.trim() {
                "min" => added.extend(&minimal),
                "all" => added.extend(&known),
                "!min" => excluded.extend(&minimal),
                "!all" => excluded.extend(known.difference(&minimal)),
                other => match other.strip_prefix('!') {
                    // What is unknown can be excluded.
                    Some(name) => excluded.extend(find(name)),
                    None => {
                        let Some(collector) = find(other) else {
                            let mut all: Vec<&str> = known
                                .iter()
                                .copied()
                                .chain(ALIASES.iter().map(|(alias, _)| *alias))
                                .collect();
                            all.sort_unstable();
                            return Err(format!(
                                "Bad subset '{other}' given to Ansible. gather_subset options allowed: all, {}",
                                all.join(", ")
                            ));
                        };
                        explicit.insert(collector);
                        added.insert(collector);
                    }
                },
            }
        }
        added.retain(|c| explicit.contains(c) || !excluded.contains(c));
        Ok(added)
    }
}

/// The facts so far, by full name.
struct Facts(Map);

impl Facts {
    fn put(&mut self, name: &str, value: impl Into<Val>) {
        self.0.insert(Val::from(format!("ansible_{name}")), value.into());
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(format!("ansible_{name}").as_str()).and_then(Val::as_str).unwrap_or_default()
    }
}

fn map<const N: usize>(entries: [(&str, Val); N]) -> Val {
    Val::map(entries.into_iter().map(|(k, v)| (Val::from(k), v)).collect())
}

/// What the script printed, by section.
struct Sections(Vec<(String, String)>);

impl Sections {
    fn read(output: &str) -> Result<Sections, String> {
        let mut sections: Vec<(String, String)> = vec![];
        for line in output.lines() {
            if let Some(name) = line.strip_prefix('@') {
                sections.push((name.to_string(), String::new()));
            } else if let (Some(content), Some((_, body))) = (line.strip_prefix(' '), sections.last_mut()) {
                body.push_str(content);
                body.push('\n');
            }
        }
        match sections.pop() {
            Some((name, _)) if name == "end" => Ok(Sections(sections)),
            _ => Err("the output of the fact script is cut off".into()),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, body)| body.as_str())
    }

    fn file(&self, path: &str) -> Option<&str> {
        self.get(&format!("file {path}"))
    }

    /// Sections called `KIND …`, and what follows the kind.
    fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, body)| {
            Some((name.strip_prefix(kind)?.strip_prefix(' ')?, body.as_str()))
        })
    }

    /// Whether a section lists a line.
    fn lists(&self, section: &str, line: &str) -> bool {
        self.get(section).is_some_and(|body| body.lines().any(|l| l == line))
    }

    /// The value of a `name value` line in a section.
    fn value(&self, section: &str, name: &str) -> Option<&str> {
        value(self.get(section)?, name)
    }
}

fn value<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    body.lines().find_map(|l| match l.strip_prefix(name)? {
        "" => Some(""),
        rest => rest.strip_prefix(' '),
    })
}

#[cfg(test)]
mod tests;
