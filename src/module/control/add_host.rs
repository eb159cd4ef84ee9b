//! `add_host`: a host for later plays.

use async_trait::async_trait;

use crate::source::{Map, Val};

use super::{Answer, Control, ControlCx, Failure, list, text};

pub struct AddHost;

const GROUPS: [&str; 4] = ["groups", "group", "groupname", "_groups"];
const NAMES: [&str; 3] = ["name", "hostname", "host"];

#[async_trait]
impl Control for AddHost {
    fn name(&self) -> &'static str {
        "add_host"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        None
    }

    fn once(&self) -> bool {
        true
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        let given = NAMES
            .iter()
            .find_map(|n| text(args, n))
            .filter(|n| !n.is_empty())
            .ok_or_else(|| Failure::new("name, host or hostname needs to be provided"))?;
        let (name, port) = match given.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => {
                (name, port.parse::<i64>().ok())
            }
            _ => (given.as_str(), None),
        };
        let groups: Vec<String> = GROUPS
            .iter()
            .find(|n| args.get(n).is_some())
            .map(|n| list(args, n).iter().map(Val::key_text).collect())
            .unwrap_or_default();
        let mut vars: Map = args
            .as_map()
            .map(|m| {
                m.iter()
                    .filter(|(k, _)| !k.as_str().is_some_and(|k| GROUPS.contains(&k) || NAMES.contains(&k)))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect()
            })
            .unwrap_or_default();
        if let Some(port) = port {
            vars.insert("ansible_ssh_port".into(), Val::Int(port));
        }
        let added = cx.variables.add_host(name, &vars, &groups).map_err(problems)?;
        let mut told = Map::new();
        told.insert("host_name".into(), name.into());
        told.insert("groups".into(), Val::from(groups));
        told.insert("host_vars".into(), vars.into());
        Ok(Answer { changed: added.changed, ..Answer::default() }.value("add_host", told))
    }
}

pub(super) fn problems(found: crate::source::Diagnostics) -> Failure {
    let text: Vec<String> = found.0.iter().map(|d| d.message.clone()).collect();
    let mut failure = Failure::new(text.join("; "));
    failure.diagnostic = found.0.into_iter().find(|d| d.span.is_some()).map(Box::new);
    failure
}
