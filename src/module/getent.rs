//! `getent`: entries of the host's databases of users, groups, hosts and more.

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx};
use crate::remote::Command;
use crate::source::{Map, Val};

/// Reads a database of the host (`passwd`, `group`, `hosts`, …) into facts.
pub struct GetEnt;

/// Arguments of `getent`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// `passwd`, `group`, `hosts`, …
    pub database: String,
    /// One entry; all of them if not given.
    pub key: Option<String>,
    /// Which service to ask (`files`).
    pub service: Option<String>,
    /// What parts fields; `:` for user and group databases, blanks otherwise.
    pub split: Option<String>,
    /// A key that isn't there is a failure.
    #[serde(default = "yes")]
    pub fail_key: bool,
}

fn yes() -> bool {
    true
}

impl Module for GetEnt {
    type Args = Args;
    const NAME: &'static str = "getent";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let mut argv = vec!["getent".to_string(), args.database.clone()];
        argv.extend(args.key.clone());
        if let Some(service) = &args.service {
            argv.extend(["-s".to_string(), service.clone()]);
        }
        let said = cx.target.query(Command::argv(argv)).await?;
        let name = format!("getent_{}", args.database);
        let facts = |tree: Map| Map::from_iter([(Val::from(name.as_str()), Val::map(tree))]);
        let missing = "One or more supplied key could not be found in the database.";
        Err(Failure::new(match said.status {
            0 => {
                let colons = ["passwd", "shadow", "group", "gshadow"].contains(&args.database.as_str());
                let split = args.split.as_deref().or(colons.then_some(":"));
                return Ok(Plan::ok().value("ansible_facts", facts(parse(&said.stdout_text(), split))));
            }
            2 if !args.fail_key => {
                let tree = Map::from_iter([(args.key.clone().into(), Val::Null)]);
                return Ok(Plan::ok().value("ansible_facts", facts(tree)).value("msg", missing));
            }
            1 => "Missing arguments, or database unknown.".to_string(),
            2 => missing.to_string(),
            3 => "Enumeration not supported on this database.".to_string(),
            127 => "the host has no getent".to_string(),
            other => format!("getent ended with status {other}: {}", said.stderr_text().trim()),
        }))
    }
}

/// Key → the other fields; a key that comes more than once has a list of them.
fn parse(text: &str, split: Option<&str>) -> Map {
    let mut entries: indexmap::IndexMap<String, Vec<Val>> = indexmap::IndexMap::new();
    for line in text.lines() {
        let mut fields = match split {
            Some(separator) => line.split(separator).map(str::to_string).collect::<Vec<_>>(),
            None => line.split_whitespace().map(str::to_string).collect(),
        };
        if fields.is_empty() {
            continue;
        }
        let key = fields.remove(0);
        entries.entry(key).or_default().push(Val::from(fields));
    }
    let one_or_all = |mut all: Vec<Val>| if all.len() == 1 { all.remove(0) } else { Val::list(all) };
    entries.into_iter().map(|(key, all)| (Val::from(key), one_or_all(all))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_repeated_keys() {
        let map = parse("root:x:0\nbin:x:1\n", Some(":"));
        assert_eq!(map.get("root"), Some(&Val::from(vec!["x", "0"])));
        let map = parse("1.2.3.4  a b\n1.2.3.4 c\n", None);
        let want = Val::list(vec![Val::from(vec!["a", "b"]), Val::from(vec!["c"])]);
        assert_eq!(map.get("1.2.3.4"), Some(&want));
    }
}
