//! What containers were made with, searched here: nothing of it is printed.

use aho_corasick::AhoCorasick;
use serde_json::Value as Json;

use super::{Found, Place, complaint, shell};
use crate::module::Failure;
use crate::remote::{Command, Output};

const INSPECT: &str = r#"ids=$("$1" ps --all --quiet --no-trunc) || exit
[ -z "$ids" ] || exec "$1" inspect $ids"#;

pub fn question(docker: &str) -> Command {
    shell(INSPECT, [docker.to_string()])
}

/// Every place in the containers' own description that holds one of `needles`.
///
/// # Errors
/// No answer that can be read; its text is not in the message.
pub fn read(output: &Output, needles: &[String]) -> Result<Vec<Found>, Failure> {
    let text = output.stdout_text();
    let failed = |why: String| Failure::new(format!("the containers could not be searched: {why}"));
    // A container that went away in between is nobody's concern; the others were told.
    let gone = output.stderr_text().lines().all(|l| l.contains("No such"));
    if !output.success() && (!gone || text.trim().is_empty()) {
        return Err(failed(complaint(output))
            .help("this user must be able to talk to the Docker engine; see `become`"));
    }
    let all: Vec<Json> = match text.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text)
            .map_err(|_| failed("docker inspect answered no readable JSON".into()))?,
    };
    let search = AhoCorasick::new(needles).map_err(|e| failed(e.to_string()))?;
    let mut found = Vec::new();
    for container in &all {
        let label = |name: &str| {
            container
                .get("Config")?
                .get("Labels")?
                .get(format!("com.docker.compose.{name}"))?
                .as_str()
                .map(String::from)
        };
        let name = container.get("Name").and_then(Json::as_str).unwrap_or_default();
        let place = Place::Container {
            name: name.trim_start_matches('/').to_string(),
            service: label("service"),
            project: label("project"),
        };
        let mut keys = Vec::new();
        walk(container, "", &search, &mut keys);
        keys.sort();
        keys.dedup();
        found.extend(keys.into_iter().map(|key| Found { place: place.clone(), key: Some(key) }));
    }
    Ok(found)
}

/// The keys of all leaves that match: the variable's name in an environment, else the path.
fn walk(json: &Json, path: &str, search: &AhoCorasick, keys: &mut Vec<String>) {
    match json {
        Json::String(text) if search.is_match(text) => {
            let variable = path.starts_with("Config.Env[").then(|| text.split_once('=')).flatten();
            keys.push(match variable {
                Some((name, value)) if search.is_match(value) => name.to_string(),
                _ => path.to_string(),
            });
        }
        Json::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{number}]"), search, keys);
            }
        }
        Json::Object(fields) => {
            for (name, value) in fields {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(value, &below, search, keys);
            }
        }
        _ => {}
    }
}
