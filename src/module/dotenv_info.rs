//! `dotenv_info` (ours): what Docker Compose reads from a `.env` file. Every value is a Secret, unless
//! it is public by itself or said to be.

use serde::Deserialize;

use super::dotenv::read::{Value, read};
use super::{Failure, Module, Plan, PlanCx};
use crate::secret::forms::is_public;
use crate::source::{Map, Text, Val};

/// Larger files are no `.env`. Bytes.
const MAX_SIZE: u64 = 1 << 20;

#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The `.env` file.
    #[serde(alias = "dest")]
    pub path: String,
    /// The variables to read; each must be there. All of them if empty.
    #[serde(default)]
    pub keys: Vec<String>,
    /// What is read is no secret: for public keys that don't show it by themselves, such as the
    /// fingerprints of GPG.
    #[serde(default)]
    pub public: bool,
}

pub struct DotenvInfo;

impl Module for DotenvInfo {
    type Args = Args;
    const NAME: &'static str = "dotenv_info";
    const COLLECTION: &'static str = "seqn.play";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let file = cx.target.read(&args.path, MAX_SIZE).await?;
        if file.stat.is_none() {
            return Err(Failure::new(format!("{} does not exist", args.path)));
        }
        let text = std::str::from_utf8(&file.content)
            .map_err(|_| Failure::new(format!("{} is not UTF-8 text, so no .env file", args.path)))?;
        let variables = variables(text, &args.keys, args.public)
            .map_err(|why| Failure::new(format!("{}: {why}", args.path)))?;
        for value in variables.values() {
            if let Val::Text(text) = value
                && text.is_secret()
            {
                cx.services.keep_secret(text);
            }
        }
        Ok(Plan::ok().value("path", args.path).value("variables", Val::map(variables)))
    }
}

/// The variables as Compose reads them, where the shell sets nothing.
fn variables(text: &str, keys: &[String], public: bool) -> Result<Map, String> {
    let mut all = Map::new();
    for entry in read(text).map_err(|e| e.to_string())? {
        let wanted = keys.is_empty() || keys.contains(&entry.key);
        match entry.value {
            _ if !wanted => {}
            Value::Known(value) => {
                // What is made from a public key (a record of several lines) is as public.
                let text = if public || is_public(&value) { Text::new(value) } else { Text::secret(value) };
                all.insert(Val::from(entry.key), Val::Text(text));
            }
            Value::NeedsEnvironment { variables, .. } if !keys.is_empty() => {
                return Err(format!(
                    "{} depends on what the file doesn't set before ({}), so its value can't be told",
                    entry.key,
                    variables.join(", ")
                ));
            }
            Value::Required(name) if !keys.is_empty() => {
                return Err(format!("{} needs {name}, which the file doesn't set before", entry.key));
            }
            Value::NeedsEnvironment { .. } | Value::Required(_) => {
                all.shift_remove(entry.key.as_str());
            }
        }
    }
    match keys.iter().find(|key| !all.contains_key(key.as_str())) {
        Some(missing) => Err(format!("{missing} is not set there")),
        None => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_compose_reads_and_secret() {
        let text = "A='x y'\nB=\"${A}z\"\nA=last\nC=${NOPE}\n";
        let found = variables(text, &["A".into(), "B".into()], false).unwrap();
        assert_eq!(found.get("A"), Some(&Val::from("last")));
        assert_eq!(found.get("B"), Some(&Val::from("x yz")));
        assert!(found.values().all(Val::has_secret));
        assert_eq!(variables(text, &[], false).unwrap().len(), 2);
        assert!(!Val::map(variables(text, &[], true).unwrap()).has_secret(), "it was said to be public");
    }

    #[test]
    fn public_keys_are_not_secret() {
        let key = age::x25519::Identity::generate().to_public();
        let text = format!("A={key}\nB={key},{key}\nC={key}x\nD=\n");
        let found = variables(&text, &[], false).unwrap();
        let secret: Vec<bool> = found.values().map(Val::has_secret).collect();
        assert_eq!(secret, [false, false, true, true]);
    }

    #[test]
    fn what_cannot_be_told_is_an_error_without_values() {
        for (text, key, part) in [
            ("A=secretsecret\n", "B", "B is not set there"),
            ("A=${NOPE}x\n", "A", "NOPE"),
            ("A='secretsecret\n", "A", "line 1"),
        ] {
            let error = variables(text, &[key.to_string()], false).unwrap_err();
            assert!(error.contains(part) && !error.contains("secretsecret"), "{error}");
        }
    }
}
