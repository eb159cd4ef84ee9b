//! The containers of a project, as `docker compose ps --all --format json` tells them.

use serde_json::Value as Json;

use crate::source::Val;

/// One container of a project.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub service: String,
    /// `running`, `exited`, `created`, `restarting`, `paused`, `dead`, …
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`; empty without a health check.
    pub health: String,
    pub exit_code: i64,
    /// All that Compose said of it, as results show it.
    whole: Json,
}

impl Container {
    pub fn is_stopped(&self) -> bool {
        matches!(self.state.as_str(), "created" | "exited" | "stopped" | "killed" | "dead" | "removing")
    }

    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Running, and healthy where a check is defined.
    pub fn is_well(&self) -> bool {
        self.is_running() && matches!(self.health.as_str(), "" | "healthy")
    }

    /// For people: `silver-auth-api: running (unhealthy)`.
    pub fn described(&self) -> String {
        let detail = match (self.health.as_str(), self.state.as_str()) {
            ("", "exited" | "dead" | "restarting") => format!(" (exit code {})", self.exit_code),
            ("", _) => String::new(),
            (health, _) => format!(" ({health})"),
        };
        format!("{}: {}{detail}", self.service, self.state)
    }

    /// As the result `containers` of Ansible's module holds it: labels, names and networks taken
    /// apart.
    pub fn result(&self) -> Val {
        let mut whole = self.whole.clone();
        if let Json::Object(fields) = &mut whole {
            let text = |key: &str| fields.get(key).and_then(Json::as_str).unwrap_or_default().to_string();
            let split = |text: &str| Json::from(text.split(',').map(str::to_string).collect::<Vec<_>>());
            let labels = text("Labels");
            let labels: serde_json::Map<String, Json> = labels
                .split(',')
                .filter(|part| !part.is_empty())
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(k, v)| (k.to_string(), Json::from(v)))
                .collect();
            let names = if fields.contains_key("Names") { text("Names") } else { self.name.clone() };
            let networks = split(&text("Networks"));
            fields.insert("Labels".into(), Json::Object(labels));
            fields.insert("Names".into(), split(&names));
            fields.insert("Networks".into(), networks);
            if !fields.get("Publishers").is_some_and(Json::is_array) {
                fields.insert("Publishers".into(), Json::Array(Vec::new()));
            }
        }
        Val::from_json(&whole)
    }
}

/// Reads the answer of `ps --format json`: an array before Compose 2.21, one object a line since.
///
/// # Errors
/// What it can't read, without the text itself.
pub fn parse(stdout: &str) -> Result<Vec<Container>, String> {
    let text = stdout.trim();
    let rows: Vec<Json> = match text.chars().next() {
        None => Vec::new(),
        Some('[') => {
            serde_json::from_str(text).map_err(|e| format!("`ps` answered no readable JSON: {e}"))?
        }
        Some(_) if text == "null" => Vec::new(),
        Some(_) => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                serde_json::from_str(line).map_err(|e| format!("`ps` answered no readable JSON: {e}"))
            })
            .collect::<Result<_, _>>()?,
    };
    rows.into_iter().map(container).collect()
}

fn container(whole: Json) -> Result<Container, String> {
    let text = |key: &str| whole.get(key).and_then(Json::as_str).map(str::to_string);
    let need = |key: &str| text(key).ok_or_else(|| format!("`ps` told of a container without {key}"));
    Ok(Container {
        id: need("ID")?,
        name: need("Name")?,
        service: need("Service")?,
        state: need("State")?,
        health: text("Health").unwrap_or_default(),
        exit_code: whole.get("ExitCode").and_then(Json::as_i64).unwrap_or(0),
        whole,
    })
}

/// The answer of `images --format json` as the result `images`: a list, or since 2.37 a map.
pub fn images(stdout: &str) -> Val {
    match serde_json::from_str::<Json>(stdout.trim()) {
        Ok(Json::Array(list)) => Val::from_json(&Json::Array(list)),
        Ok(Json::Object(map)) => Val::from_json(&Json::Array(map.into_iter().map(|(_, v)| v).collect())),
        _ => Val::list(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"ID":"aa","Name":"p-api-1","Service":"api","State":"running","Health":"healthy","ExitCode":0,"Labels":"a=b,c=d=e,f","Networks":"p_default","Publishers":null}"#;
    const TWO: &str =
        r#"{"ID":"bb","Name":"p-db-1","Service":"db","State":"exited","Health":"","ExitCode":3}"#;

    #[test]
    fn every_shape_that_compose_has_used_is_read() {
        for (text, services) in [
            (format!("{ONE}\n{TWO}\n"), vec!["api", "db"]),
            (format!("[{ONE},{TWO}]\n"), vec!["api", "db"]),
            (String::new(), vec![]),
            ("[]\n".to_string(), vec![]),
            ("null\n".to_string(), vec![]),
        ] {
            let found: Vec<String> = parse(&text).unwrap().into_iter().map(|c| c.service).collect();
            assert_eq!(found, services, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error_that_does_not_repeat_it() {
        let error = parse("Usage: PASSWORD=hunter2hunter2").unwrap_err();
        assert!(error.contains("no readable JSON") && !error.contains("hunter2"), "{error}");
        assert!(parse(r#"{"ID":"x"}"#).unwrap_err().contains("without Name"));
    }

    #[test]
    fn results_take_labels_and_names_apart() {
        let containers = parse(&format!("{ONE}\n{TWO}")).unwrap();
        let result = containers[0].result();
        assert_eq!(result.get("Labels").unwrap().get("c"), Some(&Val::from("d=e")));
        assert_eq!(result.get("Names").unwrap(), &Val::from(vec!["p-api-1"]));
        assert_eq!(result.get("Publishers").unwrap().as_list(), Some(&[][..]));
    }

    #[test]
    fn people_are_told_state_and_health() {
        let containers = parse(&format!("{ONE}\n{TWO}")).unwrap();
        assert_eq!(containers[0].described(), "api: running (healthy)");
        assert_eq!(containers[1].described(), "db: exited (exit code 3)");
        assert!(containers[0].is_well() && !containers[1].is_well() && containers[1].is_stopped());
    }

    #[test]
    fn images_are_a_list_in_every_version() {
        assert_eq!(images(r#"[{"ID":"x"}]"#).as_list().unwrap().len(), 1);
        assert_eq!(images(r#"{"p-api-1":{"ID":"x"}}"#).as_list().unwrap().len(), 1);
        assert_eq!(images("").as_list().unwrap().len(), 0);
    }
}
