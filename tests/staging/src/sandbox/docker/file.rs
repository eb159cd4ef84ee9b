//! The Compose file, as far as the sandbox can run it. What it can't do is refused, not ignored.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Failure;
use super::dotenv::Values;
use super::mounts::Mount;
use crate::place::hex;

const FILE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Compose's exit codes where there is no Compose file, and where it is not valid.
const NO_FILE: u8 = 14;
const INVALID: u8 = 15;

/// The options before the subcommand that say which project is meant.
#[derive(Debug, Default)]
pub struct Choice {
    pub file: Option<PathBuf>,
    pub env_file: Option<PathBuf>,
    pub directory: Option<PathBuf>,
    pub name: Option<String>,
}

#[derive(Debug)]
pub struct Project {
    pub name: String,
    pub dir: PathBuf,
    pub file: PathBuf,
    /// By name, as Compose lists them.
    pub services: BTreeMap<String, Service>,
    pub volumes: Vec<String>,
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub struct Service {
    pub name: String,
    pub image: String,
    pub command: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    /// Service and whether it must be healthy first.
    pub depends_on: BTreeMap<String, bool>,
    pub ports: Vec<Port>,
    /// Named volume and where it is mounted.
    pub volumes: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    pub health: Option<Health>,
    pub restart: String,
    pub stop_grace: Duration,
    pub init: bool,
    /// All of the above in Compose's own words.
    pub canonical: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Port {
    pub host: String,
    pub published: u16,
    pub target: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Health {
    pub test: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub start_period: Duration,
    pub retries: u32,
}

impl Project {
    /// Fails with Compose's own exit codes.
    pub fn load(choice: &Choice) -> Result<Project, Failure> {
        let values = Values::new(std::env::vars());
        let file = find_file(choice, &values).map_err(|error| Failure::new(NO_FILE, format!("{error:#}")))?;
        let (dir, values) = Project::surroundings(choice, &file, values)?;
        let name = choice.name.as_deref();
        let parse = || -> Result<Project> {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            Project::parse(&text, file.clone(), dir, name, values)
        };
        parse().map_err(|error| Failure::new(INVALID, format!("{error:#}")))
    }

    /// The project's directory, and the values of its `.env`.
    fn surroundings(choice: &Choice, file: &Path, mut values: Values) -> Result<(PathBuf, Values)> {
        let dir = match (&choice.directory, file.parent()) {
            (Some(dir), _) => std::path::absolute(dir)?,
            (None, Some(dir)) => dir.to_path_buf(),
            (None, None) => bail!("{} has no directory", file.display()),
        };
        let env_file = match &choice.env_file {
            Some(file) => Some(std::path::absolute(file)?),
            None => Some(dir.join(".env")).filter(|file| file.is_file()),
        };
        if let Some(env_file) = env_file {
            let text = fs::read_to_string(&env_file)
                .with_context(|| format!("couldn't find env file: {}", env_file.display()))?;
            values.read(&text).with_context(|| format!("failed to read {}", env_file.display()))?;
        }
        Ok((dir, values))
    }

    fn parse(
        text: &str,
        file: PathBuf,
        dir: PathBuf,
        name: Option<&str>,
        mut values: Values,
    ) -> Result<Project> {
        let mut yaml: serde_yaml::Value =
            serde_yaml::from_str(text).with_context(|| format!("parsing {}", file.display()))?;
        yaml.apply_merge()?;
        let mut root: Value =
            serde_json::to_value(&yaml).with_context(|| format!("parsing {}", file.display()))?;
        fill_in(&mut root, "", &mut values)?;
        let root = object(&root, "the Compose file")?;
        only(root, "the Compose file", &["name", "services", "volumes", "secrets", "version"])?;

        let from_dir = dir.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name
            .or(values.get("COMPOSE_PROJECT_NAME"))
            .filter(|name| !name.is_empty())
            .map(ToOwned::to_owned)
            .or(root.get("name").and_then(Value::as_str).map(ToOwned::to_owned))
            .or(from_dir.map(|name| plain_name(&name)))
            .unwrap_or_default();
        if name.is_empty() || name != plain_name(&name) {
            bail!("invalid project name {name:?}");
        }

        let mut volumes = Vec::new();
        if let Some(declared) = root.get("volumes").filter(|found| !found.is_null()) {
            for (volume, settings) in object(declared, "volumes")? {
                if settings.as_object().is_some_and(|map| !map.is_empty()) {
                    bail!("volumes.{volume}: the sandbox knows no volume settings");
                }
                volumes.push(volume.clone());
            }
        }
        let no_secrets = Map::new();
        let secrets = match root.get("secrets").filter(|found| !found.is_null()) {
            Some(declared) => object(declared, "secrets")?,
            None => &no_secrets,
        };
        let around = Around { dir: &dir, values: &values, secrets };
        let mut services = BTreeMap::new();
        let declared = root.get("services").context("empty compose file")?;
        for (name, settings) in object(declared, "services")? {
            let service = Service::parse(name, object(settings, name)?, &around)?;
            for (volume, _) in &service.volumes {
                if !volumes.contains(volume) {
                    bail!("service {name:?} refers to undefined volume {volume}: invalid compose project");
                }
            }
            services.insert(name.clone(), service);
        }
        for service in services.values() {
            for other in service.depends_on.keys() {
                if !services.contains_key(other) {
                    let name = &service.name;
                    bail!("service {name:?} depends on undefined service {other:?}: invalid compose project");
                }
            }
        }
        let project = Project {
            warnings: values
                .missing()
                .map(|name| format!("The {name:?} variable is not set. Defaulting to a blank string."))
                .collect(),
            name,
            dir,
            file,
            services,
            volumes,
        };
        project.levels(&project.services.keys().cloned().collect::<Vec<_>>())?;
        Ok(project)
    }

    pub fn service(&self, name: &str) -> Result<&Service> {
        match self.services.get(name) {
            Some(service) => Ok(service),
            None => bail!("no such service: {name}"),
        }
    }

    /// The services in groups, each of which depends only on groups before it.
    pub fn levels(&self, names: &[String]) -> Result<Vec<Vec<String>>> {
        let mut left: Vec<&str> = names.iter().map(String::as_str).collect();
        left.sort_unstable();
        left.dedup();
        let mut levels = Vec::new();
        while !left.is_empty() {
            let waits = |name: &str| {
                let service = self.services.get(name);
                service
                    .is_some_and(|found| found.depends_on.keys().any(|other| left.contains(&other.as_str())))
            };
            let (later, now): (Vec<&str>, Vec<&str>) = left.iter().partition(|name| waits(name));
            if now.is_empty() {
                bail!("dependency cycle detected: {}", later.join(" -> "));
            }
            levels.push(now.into_iter().map(ToOwned::to_owned).collect());
            left = later;
        }
        Ok(levels)
    }

    /// These services and all that they depend on.
    pub fn with_dependencies(&self, names: &[String]) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let mut open = names.to_vec();
        while let Some(name) = open.pop() {
            if all.contains(&name) {
                continue;
            }
            open.extend(self.service(&name)?.depends_on.keys().cloned());
            all.push(name);
        }
        all.sort();
        Ok(all)
    }

    /// What `config` prints, with `$` doubled as Compose does.
    pub fn canonical(&self) -> Value {
        let services: Map<String, Value> = self
            .services
            .iter()
            .map(|(name, service)| {
                let mut value = Value::Object(service.canonical.clone());
                double_dollars(&mut value);
                (name.clone(), value)
            })
            .collect();
        let mut out = json!({
            "name": self.name,
            "networks": {"default": {"name": format!("{}_default", self.name), "ipam": {}}},
            "services": services,
        });
        if !self.volumes.is_empty() {
            let volumes: Map<String, Value> = self
                .volumes
                .iter()
                .map(|volume| {
                    let name = format!("{}_{volume}", self.name);
                    (volume.clone(), json!({ "name": name }))
                })
                .collect();
            out["volumes"] = Value::Object(volumes);
        }
        out
    }
}

/// What a service is read with, beside its own part of the file.
struct Around<'a> {
    dir: &'a Path,
    values: &'a Values,
    secrets: &'a Map<String, Value>,
}

impl Service {
    fn parse(name: &str, map: &Map<String, Value>, around: &Around) -> Result<Service> {
        const KEYS: [&str; 16] = [
            "image",
            "command",
            "environment",
            "env_file",
            "depends_on",
            "ports",
            "volumes",
            "secrets",
            "healthcheck",
            "restart",
            "stop_grace_period",
            "init",
            "pull_policy",
            "shm_size",
            "labels",
            "networks",
        ];
        only(map, &format!("services.{name}"), &KEYS)?;
        let at = |key: &str| format!("services.{name}.{key}");
        let get = |key: &str| map.get(key).filter(|value| !value.is_null());
        if let Some(labels) = get("labels")
            && labels.as_object().is_none_or(|map| !map.is_empty())
        {
            bail!("{}: the sandbox sets no labels of its own", at("labels"));
        }
        if let Some(networks) = get("networks")
            && networks.as_object().is_none_or(|map| !map.is_empty())
        {
            bail!("{}: the sandbox has one network only", at("networks"));
        }
        let image = get("image")
            .and_then(Value::as_str)
            .filter(|image| !image.is_empty())
            .with_context(|| format!("service {name:?} has no image: the sandbox builds none"))?;
        let command = match get("command") {
            Some(value) => Some(words(value, &at("command"))?),
            None => None,
        };
        let mut variables = BTreeMap::new();
        let files = match get("env_file") {
            Some(file @ Value::String(_)) => std::slice::from_ref(file),
            files => list(files, &at("env_file"))?,
        };
        for file in files {
            let path = around.dir.join(text(file, &at("env_file"))?);
            let read = fs::read_to_string(&path)
                .with_context(|| format!("env file {} not found", path.display()))?;
            let read = around.values.read_beside(&read);
            variables.extend(read.with_context(|| format!("failed to read {}", path.display()))?);
        }
        variables.extend(environment(get("environment"), &at("environment"))?);
        let depends_on = dependencies(get("depends_on"), &at("depends_on"))?;
        let mut ports = Vec::new();
        for port in list(get("ports"), &at("ports"))? {
            ports.push(parse_port(port, &at("ports"))?);
        }
        let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
        for volume in list(get("volumes"), &at("volumes"))? {
            let written = text(volume, &at("volumes"))?;
            match parse_volume(&written) {
                Some(volume) => volumes.push(volume),
                None => mounts.push(Mount::parse(&written, around.dir, &at("volumes"))?),
            }
        }
        let secrets = list(get("secrets"), &at("secrets"))?;
        mounts.extend(Mount::secrets(secrets, around.secrets, around.dir, &at("secrets"))?);
        let health = match get("healthcheck") {
            Some(value) => parse_health(object(value, &at("healthcheck"))?, &at("healthcheck"))?,
            None => None,
        };
        let restart = get("restart").and_then(Value::as_str).unwrap_or("no");
        if !["no", "always", "unless-stopped", "on-failure"].contains(&restart) {
            bail!("{}: the sandbox knows no policy {restart:?}", at("restart"));
        }
        let stop_grace = match get("stop_grace_period") {
            Some(value) => duration(value, &at("stop_grace_period"))?,
            None => Duration::from_secs(10),
        };
        let init = get("init").is_some_and(|value| value == &Value::Bool(true));
        let mut service = Service {
            name: name.to_owned(),
            image: image.to_owned(),
            command,
            environment: variables,
            depends_on,
            ports,
            volumes,
            mounts,
            health,
            restart: restart.to_owned(),
            stop_grace,
            init,
            canonical: Map::new(),
        };
        service.canonical = service.in_composes_words(map);
        Ok(service)
    }

    fn in_composes_words(&self, source: &Map<String, Value>) -> Map<String, Value> {
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        put("command", json!(self.command));
        if !self.depends_on.is_empty() {
            let on = |healthy: &bool| match healthy {
                true => "service_healthy",
                false => "service_started",
            };
            let depends_on: Map<String, Value> = self
                .depends_on
                .iter()
                .map(|(name, healthy)| {
                    let value = json!({"condition": on(healthy), "required": true});
                    (name.clone(), value)
                })
                .collect();
            put("depends_on", Value::Object(depends_on));
        }
        put("entrypoint", Value::Null);
        if !self.environment.is_empty() {
            put("environment", json!(self.environment));
        }
        for key in ["healthcheck", "pull_policy", "restart", "shm_size", "stop_grace_period"] {
            if let Some(value) = source.get(key) {
                put(key, value.clone());
            }
        }
        put("image", json!(self.image));
        if self.init {
            put("init", json!(true));
        }
        put("networks", json!({"default": null}));
        if !self.ports.is_empty() {
            let ports = self.ports.iter().map(|port| {
                json!({
                    "mode": "ingress",
                    "host_ip": port.host,
                    "target": port.target,
                    "published": port.published.to_string(),
                    "protocol": "tcp",
                })
            });
            put("ports", ports.collect());
        }
        if !self.volumes.is_empty() || !self.mounts.is_empty() {
            let volumes = self.volumes.iter().map(|(source, target)| {
                json!({"type": "volume", "source": source, "target": target, "volume": {}})
            });
            let mounts = self.mounts.iter().map(|mount| {
                json!({"type": "bind", "source": mount.source, "target": mount.target, "read_only": true})
            });
            put("volumes", volumes.chain(mounts).collect());
        }
        out
    }

    /// As in Compose 2.26.1, `--no-deps` gives another hash than a plain `up`.
    pub fn hash(&self, without_dependencies: bool) -> String {
        let mut canonical = self.canonical.clone();
        if without_dependencies {
            canonical.remove("depends_on");
        }
        // These don't make a container another one.
        canonical.remove("pull_policy");
        hex(&Sha256::digest(Value::Object(canonical).to_string()))
    }
}

fn find_file(choice: &Choice, values: &Values) -> Result<PathBuf> {
    let named = choice.file.clone();
    let named = named.or_else(|| values.get("COMPOSE_FILE").map(PathBuf::from));
    if let Some(file) = named {
        let file = std::path::absolute(file)?;
        if !file.is_file() {
            bail!("open {}: no such file or directory", file.display());
        }
        return Ok(file);
    }
    let start = match &choice.directory {
        Some(dir) => std::path::absolute(dir)?,
        None => std::env::current_dir()?,
    };
    let found = start.ancestors().find_map(|dir| {
        let mut files = FILE_NAMES.iter().map(|name| dir.join(name));
        files.find(|file| file.is_file())
    });
    found.context("no configuration file provided: not found")
}

/// Fills in every string, except in the parts that belong to nobody (`x-…`).
fn fill_in(value: &mut Value, place: &str, values: &mut Values) -> Result<()> {
    match value {
        Value::String(text) => {
            *text = values.fill_in(text).with_context(|| format!("error while interpolating {place}"))?;
        }
        Value::Array(items) => {
            for item in items {
                fill_in(item, &format!("{place}.[]"), values)?;
            }
        }
        Value::Object(map) => {
            for (key, item) in map.iter_mut().filter(|(key, _)| !key.starts_with("x-")) {
                let dot = if place.is_empty() { "" } else { "." };
                fill_in(item, &format!("{place}{dot}{key}"), values)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn double_dollars(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(double_dollars),
        Value::Object(map) => map.values_mut().for_each(double_dollars),
        _ => {}
    }
}

fn plain_name(name: &str) -> String {
    let name = name.to_lowercase();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let name: String = name.chars().filter(plain).collect();
    name.trim_start_matches(['_', '-']).to_owned()
}

fn only(map: &Map<String, Value>, place: &str, known: &[&str]) -> Result<()> {
    let odd = |key: &&String| !known.contains(&key.as_str()) && !key.starts_with("x-");
    match map.keys().find(odd) {
        Some(key) => bail!("{place}: the sandbox does not know the key {key:?}"),
        None => Ok(()),
    }
}

fn object<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>> {
    match value.as_object() {
        Some(map) => Ok(map),
        None => bail!("{place} must be a mapping"),
    }
}

fn list<'a>(value: Option<&'a Value>, place: &str) -> Result<&'a [Value]> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => bail!("{place} must be a list"),
    }
}

fn text(value: &Value, place: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => bail!("{place} must be a string"),
    }
}

fn words(value: &Value, place: &str) -> Result<Vec<String>> {
    match value {
        Value::String(line) => split_words(line).with_context(|| place.to_owned()),
        _ => list(Some(value), place)?.iter().map(|item| text(item, place)).collect(),
    }
}

/// Splits a command line at blanks outside of quotes.
fn split_words(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' | '"' => {
                let quoted = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => quoted.extend(chars.next()),
                        Some(other) => quoted.push(other),
                        None => bail!("a quote is not closed"),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn environment(value: Option<&Value>, place: &str) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    match value {
        None => {}
        Some(Value::Object(map)) => {
            for (key, value) in map {
                if !value.is_null() {
                    out.insert(key.clone(), text(value, place)?);
                }
            }
        }
        Some(value) => {
            for item in list(Some(value), place)? {
                if let Some((key, value)) = text(item, place)?.split_once('=') {
                    out.insert(key.to_owned(), value.to_owned());
                }
            }
        }
    }
    Ok(out)
}

fn dependencies(value: Option<&Value>, place: &str) -> Result<BTreeMap<String, bool>> {
    let mut out = BTreeMap::new();
    match value {
        None => {}
        Some(Value::Object(map)) => {
            for (name, settings) in map {
                let settings = object(settings, place)?;
                only(settings, place, &["condition", "required"])?;
                let condition = settings.get("condition").and_then(Value::as_str);
                let healthy = match condition {
                    Some("service_healthy") => true,
                    Some("service_started") | None => false,
                    Some(other) => bail!("{place}: the sandbox knows no condition {other:?}"),
                };
                out.insert(name.clone(), healthy);
            }
        }
        Some(value) => {
            for item in list(Some(value), place)? {
                out.insert(text(item, place)?, false);
            }
        }
    }
    Ok(out)
}

fn parse_port(value: &Value, place: &str) -> Result<Port> {
    let written = text(value, place)?;
    let plain = written.strip_suffix("/tcp").unwrap_or(&written);
    let parts: Vec<&str> = plain.split(':').collect();
    let [host, published, target] = parts[..] else {
        bail!("{place}: the sandbox publishes only HOST:PORT:PORT, not {written:?}");
    };
    let loopback = host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    if !loopback {
        bail!("{place}: the sandbox publishes on loopback only, not on {host:?}");
    }
    let number = |text: &str| match text.parse::<u16>() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{place}: invalid port {text:?}"),
    };
    Ok(Port { host: host.to_owned(), published: number(published)?, target: number(target)? })
}

/// A named volume and where it is mounted.
fn parse_volume(written: &str) -> Option<(String, String)> {
    let (name, target) = written.split_once(':')?;
    let is_named = !name.starts_with(['.', '/', '~']) && Path::new(target).is_absolute();
    is_named.then(|| (name.to_owned(), target.to_owned()))
}

fn parse_health(map: &Map<String, Value>, place: &str) -> Result<Option<Health>> {
    let keys = ["test", "interval", "timeout", "start_period", "retries", "disable"];
    only(map, place, &keys)?;
    if map.get("disable") == Some(&Value::Bool(true)) {
        return Ok(None);
    }
    let test = match map.get("test") {
        Some(Value::String(line)) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Some(value) => words(value, place)?,
        None => bail!("{place} has no test"),
    };
    match test.first().map(String::as_str) {
        Some("NONE") => return Ok(None),
        Some("CMD" | "CMD-SHELL") if test.len() > 1 => {}
        _ => bail!("{place}: a test begins with CMD, CMD-SHELL or NONE"),
    }
    let time = |key: &str, otherwise: u64| match map.get(key) {
        Some(value) => duration(value, place),
        None => Ok(Duration::from_secs(otherwise)),
    };
    let retries = match map.get("retries") {
        Some(value) => text(value, place)?.parse().with_context(|| format!("{place}: invalid retries"))?,
        None => 3,
    };
    Ok(Some(Health {
        test,
        interval: time("interval", 30)?,
        timeout: time("timeout", 30)?,
        start_period: time("start_period", 0)?,
        retries,
    }))
}

/// `1m30s`, `500ms`, `2s`.
fn duration(value: &Value, place: &str) -> Result<Duration> {
    let written = text(value, place)?;
    let mut rest = written.as_str();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (Ok(number), Some(unit)) = (
            number.parse::<u32>(),
            match unit {
                "us" => Some(Duration::from_micros(1)),
                "ms" => Some(Duration::from_millis(1)),
                "s" => Some(Duration::from_secs(1)),
                "m" => Some(Duration::from_secs(60)),
                "h" => Some(Duration::from_secs(3600)),
                _ => None,
            },
        ) else {
            bail!("{place}: invalid duration {written:?}");
        };
        total += unit * number;
        rest = after;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Project> {
        let mut values = Values::default();
        values.read("PW=p$$w\n")?;
        let dir = PathBuf::from("/nowhere/project");
        Project::parse(text, dir.join("compose.yaml"), dir, None, values)
    }

    #[test]
    fn merges_anchors_and_fills_values_in() {
        let project = parse(
            "x-base: &base {image: i, restart: always}\nservices:\n  a:\n    <<: *base\n    \
             environment: {P: '${PW}', N: 5}\n    command: sh -c 'echo \"$$HOME\"'\n",
        )
        .unwrap();
        let service = project.service("a").unwrap();
        assert_eq!(project.name, "project");
        assert_eq!(service.environment["P"], "p$w");
        assert_eq!(service.environment["N"], "5");
        assert_eq!(service.command.as_deref().unwrap()[2], "echo \"$HOME\"");
        assert_eq!(project.canonical()["services"]["a"]["environment"]["P"], "p$$w");
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for (text, word) in [
            ("services: {a: {image: i, cgroup: host}}", "cgroup"),
            ("services: {a: {image: i, ports: ['80:80']}}", "80:80"),
            ("services: {a: {image: i, ports: ['0.0.0.0:80:80']}}", "loopback"),
            ("services: {a: {image: i, volumes: ['/x:/x']}}", "/x:/x"),
            ("services: {a: {image: i, secrets: [s]}}", "undefined secret s"),
            ("secrets: {s: {external: true}}\nservices: {a: {image: i, secrets: [s]}}", "secrets.s"),
            ("services: {a: {image: i, env_file: nope}}", "env file /nowhere/project/nope not found"),
            ("services: {a: {image: i, depends_on: [b]}}", "undefined"),
            ("services: {a: {image: i, depends_on: [a]}}", "cycle"),
            ("services: {a: {image: i, healthcheck: {test: [X]}}}", "CMD"),
            ("services: {a: {build: .}}", "build"),
            ("nets: {}", "nets"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn dependencies_come_first() {
        let project =
            parse("services: {a: {image: i, depends_on: [b]}, b: {image: i}, c: {image: i}}").unwrap();
        let all = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(project.levels(&all).unwrap(), [vec!["b", "c"], vec!["a"]]);
        assert_eq!(project.with_dependencies(&all[..1]).unwrap(), ["a", "b"]);
        let with = project.services["a"].hash(false);
        assert_ne!(with, project.services["a"].hash(true));
    }

    #[test]
    fn durations() {
        let read = |text: &str| duration(&json!(text), "x").ok();
        assert_eq!(read("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(read("5"), None);
        assert_eq!(read("s"), None);
    }
}
