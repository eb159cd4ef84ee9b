//! `ssh` options from arguments and configuration files; of each keyword the first value counts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::options::{Surroundings, config_files};
use super::pattern;
use crate::remote::connections::Connection;

/// Keywords that this client does something with. Lower case, as all of them here.
const UNDERSTOOD: &[&str] = &[
    "addressfamily",
    "challengeresponseauthentication",
    "connectionattempts",
    "connecttimeout",
    "globalknownhostsfile",
    "hashknownhosts",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "port",
    "preferredauthentications",
    "proxycommand",
    "proxyjump",
    "pubkeyauthentication",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];

/// Keywords that change nothing for a session without terminal, forwarding and `ssh` process, or
/// that could only make this client trust more than it does.
const WITHOUT_EFFECT: &[&str] = &[
    "addkeystoagent",
    "batchmode",
    "checkhostip",
    "clearallforwardings",
    "compression",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardagent",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "gssapikeyexchange",
    "gssapitrustdns",
    "hostbasedauthentication",
    "ipqos",
    "localcommand",
    "localforward",
    "loglevel",
    "logverbose",
    "nohostauthenticationforlocalhost",
    "numberofpasswordprompts",
    "obscurekeystroketiming",
    "permitlocalcommand",
    "permitremoteopen",
    "rekeylimit",
    "remoteforward",
    "requesttty",
    "sendenv",
    "sessiontype",
    "setenv",
    "stdinnull",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "syslogfacility",
    "tcpkeepalive",
    "tunnel",
    "tunneldevice",
    "updatehostkeys",
    "usekeychain",
    "verifyhostkeydns",
    "visualhostkey",
    "xauthlocation",
];

/// Files may include files; no further than this.
const DEEPEST_INCLUDE: usize = 16;

/// What was said, keyword by keyword.
#[derive(Debug, Default)]
pub struct Settings {
    values: HashMap<String, (String, String)>,
    pub identity_files: Vec<String>,
    ignored: Vec<String>,
}

impl Settings {
    /// From the connection, its `ssh` arguments and the configuration files.
    ///
    /// # Errors
    /// What can't be understood, with its place.
    pub fn gather(connection: &Connection, around: &Surroundings) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let known = "the inventory or the command line";
        if let Some(port) = connection.port {
            settings.set("port", &port.to_string(), known)?;
        }
        if let Some(user) = &connection.user {
            settings.set("user", user, known)?;
        }
        if let Some(key) = &connection.private_key {
            settings.identity_files.push(key.display().to_string().replace('%', "%%"));
            settings.set("identitiesonly", "yes", known)?;
        }
        match settings.arguments(&connection.ssh_args)? {
            Some(file) if file.as_os_str() == "none" => {}
            Some(file) => {
                if !file.exists() {
                    return Err(format!("there is no {}", file.display()));
                }
                let folder = around.home.join(".ssh");
                settings.file(&file, &folder, &connection.address, around, 0)?;
            }
            None => {
                for (file, folder) in config_files(around) {
                    settings.file(&file, &folder, &connection.address, around, 0)?;
                }
            }
        }
        Ok(settings)
    }

    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.values.get(keyword).map(|(value, _)| value.as_str())
    }

    /// Where a keyword was set, with its value, for messages.
    pub fn place(&self, keyword: &str) -> String {
        match self.values.get(keyword) {
            Some((value, place)) => format!("{keyword} {value} in {place}"),
            None => keyword.to_string(),
        }
    }

    pub fn number(&self, keyword: &str) -> Result<Option<u64>, String> {
        let number = |text: &str| {
            let (digits, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
                Some((at, _)) => text.split_at(at),
                None => (text, ""),
            };
            let unit = match unit {
                "" | "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            digits.parse::<u64>().ok()?.checked_mul(unit)
        };
        self.get(keyword)
            .map(|text| number(text).ok_or_else(|| format!("{}: it is a number", self.place(keyword))))
            .transpose()
    }

    pub fn flag(&self, keyword: &str) -> Result<Option<bool>, String> {
        match self.get(keyword).map(str::to_lowercase).as_deref() {
            None => Ok(None),
            Some("yes" | "true" | "unbound" | "host-bound") => Ok(Some(true)),
            Some("no" | "false") => Ok(Some(false)),
            Some(_) => Err(format!("{}: it is yes or no", self.place(keyword))),
        }
    }

    /// The value as a list of words.
    pub fn words(&self, keyword: &str) -> Option<Vec<String>> {
        self.get(keyword).map(words)
    }

    fn set(&mut self, keyword: &str, value: &str, place: &str) -> Result<(), String> {
        let keyword = keyword.to_lowercase();
        let value = value.trim();
        if value.is_empty() {
            return Err(format!("{keyword} in {place} has no value"));
        }
        match keyword.as_str() {
            "identityfile" => self.identity_files.extend(words(value).into_iter().next()),
            "ignoreunknown" => self.ignored.extend(value.to_lowercase().split([',', ' ']).map(String::from)),
            "canonicalizehostname" if value.eq_ignore_ascii_case("no") => {}
            _ if UNDERSTOOD.contains(&keyword.as_str()) => {
                let list = keyword.ends_with("knownhostsfile") || keyword == "proxycommand";
                let value = match list {
                    true => value.to_string(),
                    false => words(value).into_iter().next().unwrap_or_default(),
                };
                self.values.entry(keyword).or_insert((value, place.to_string()));
            }
            _ if WITHOUT_EFFECT.contains(&keyword.as_str()) => {}
            _ if pattern::any(self.ignored.iter().map(String::as_str), &keyword) => {}
            _ => {
                return Err(format!(
                    "the built-in SSH client doesn't understand the option {keyword} ({place})"
                ));
            }
        }
        Ok(())
    }

    /// Reads `ssh` arguments; the file of `-F`.
    fn arguments(&mut self, arguments: &[String]) -> Result<Option<PathBuf>, String> {
        const PLACE: &str = "the ssh arguments";
        let mut file = None;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut letters = argument.strip_prefix('-').unwrap_or_default().chars();
            if letters.as_str().is_empty() {
                return Err(format!(
                    "the built-in SSH client doesn't understand the ssh argument {argument}"
                ));
            }
            while let Some(letter) = letters.next() {
                if "46".contains(letter) {
                    self.set("addressfamily", if letter == '4' { "inet" } else { "inet6" }, PLACE)?;
                    continue;
                }
                if "aACfgkKMnNqsTtvxXyY".contains(letter) {
                    continue;
                }
                if !"FJilop".contains(letter) {
                    return Err(format!(
                        "the built-in SSH client doesn't understand the ssh argument {argument}"
                    ));
                }
                let value = match letters.as_str() {
                    "" => rest.next().ok_or_else(|| format!("the ssh argument -{letter} has no value"))?,
                    attached => attached,
                };
                match letter {
                    'F' => file = Some(PathBuf::from(value)),
                    'J' => self.set("proxyjump", value, PLACE)?,
                    'i' => self.identity_files.push(value.to_string()),
                    'l' => self.set("user", value, PLACE)?,
                    'p' => self.set("port", value, PLACE)?,
                    _ => {
                        let (keyword, value) = keyword_and_value(value);
                        self.set(keyword, value, &format!("{PLACE}, -o"))?;
                    }
                }
                break;
            }
        }
        Ok(file)
    }

    fn file(
        &mut self,
        file: &Path,
        folder: &Path,
        named: &str,
        around: &Surroundings,
        depth: usize,
    ) -> Result<(), String> {
        let text = match std::fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(format!("can't read {}: {e}", file.display())),
        };
        let mut applies = true;
        for (index, line) in text.lines().enumerate() {
            let place = format!("{}:{}", file.display(), index + 1);
            let (keyword, value) = keyword_and_value(line.trim());
            if keyword.is_empty() || keyword.starts_with('#') {
                continue;
            }
            match keyword.to_lowercase().as_str() {
                "host" => applies = pattern::any(words(value).iter().map(String::as_str), named),
                "match" => applies = self.matches(value, named, around, &place)?,
                _ if !applies => {}
                "include" => {
                    if depth == DEEPEST_INCLUDE {
                        return Err(format!("{place}: files include each other too deeply"));
                    }
                    for name in words(value) {
                        let path = match name.strip_prefix("~/") {
                            Some(rest) => around.home.join(rest),
                            None => folder.join(name),
                        };
                        for path in glob(&path) {
                            self.file(&path, folder, named, around, depth + 1)?;
                        }
                    }
                }
                _ => self.set(keyword, value, &place)?,
            }
        }
        Ok(())
    }

    fn matches(&self, value: &str, named: &str, around: &Surroundings, place: &str) -> Result<bool, String> {
        let mut criteria = words(value).into_iter();
        let mut all = true;
        while let Some(criterion) = criteria.next() {
            let (negated, criterion) = match criterion.strip_prefix('!') {
                Some(rest) => (true, rest.to_lowercase()),
                None => (false, criterion.to_lowercase()),
            };
            let text = match criterion.as_str() {
                "all" => {
                    all &= !negated;
                    continue;
                }
                "host" => self.get("hostname").unwrap_or(named),
                "originalhost" => named,
                "user" => self.get("user").unwrap_or(&around.user),
                "localuser" => &around.user,
                _ => {
                    return Err(format!(
                        "the built-in SSH client doesn't understand Match {criterion} ({place})"
                    ));
                }
            };
            let patterns =
                criteria.next().ok_or_else(|| format!("{place}: Match {criterion} has no value"))?;
            all &= pattern::any(patterns.split(','), text) != negated;
        }
        Ok(all)
    }
}

/// `Keyword value`, `Keyword=value`, `Keyword = value`.
fn keyword_and_value(line: &str) -> (&str, &str) {
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (keyword, rest.strip_prefix('=').unwrap_or(rest).trim())
}

/// Words, of which one may stand in double quotes; a `#` begins a comment.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            '#' if !quoted && word.is_none() => break,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The files that a path with `*` and `?` stands for, sorted.
fn glob(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let entry_name = entry.file_name();
                let entry_name = entry_name.to_string_lossy();
                if pattern::covers(&name, &entry_name) && !entry_name.starts_with('.') {
                    next.push(entry.path());
                }
            }
        }
        next.sort();
        found = next;
    }
    found
}
