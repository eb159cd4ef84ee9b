//! `set_stats`: values that are shown at the end of the run.

use async_trait::async_trait;

use crate::inventory::names::is_variable;
use crate::source::{Map, Val};

use super::{Answer, Control, ControlCx, Failure, boolean};

pub struct SetStats;

#[async_trait]
impl Control for SetStats {
    fn name(&self) -> &'static str {
        "set_stats"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&["aggregate", "data", "per_host"])
    }

    fn required_args(&self) -> &'static [&'static str] {
        &["data"]
    }

    async fn run(&self, args: &Val, _: &ControlCx<'_>) -> Result<Answer, Failure> {
        let data = args
            .get("data")
            .and_then(Val::as_map)
            .cloned()
            .ok_or_else(|| Failure::new("The 'data' option needs to be a dictionary/hash"))?;
        if let Some(name) = data.keys().find(|name| !name.as_str().is_some_and(is_variable)) {
            return Err(Failure::new(format!("Invalid variable name '{}'.", name.key_text())));
        }
        let mut stats = Map::new();
        stats.insert("data".into(), data.into());
        stats.insert("aggregate".into(), boolean(args, "aggregate", true)?.into());
        stats.insert("per_host".into(), boolean(args, "per_host", false)?.into());
        Ok(Answer::default().value("ansible_stats", stats))
    }
}
