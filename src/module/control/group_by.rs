//! `group_by`: puts the host into a group made of its facts.

use async_trait::async_trait;

use crate::source::Val;

use super::{Answer, Control, ControlCx, Failure, list, text};

pub struct GroupBy;

#[async_trait]
impl Control for GroupBy {
    fn name(&self) -> &'static str {
        "group_by"
    }

    fn known_args(&self) -> Option<&'static [&'static str]> {
        Some(&["key", "parents"])
    }

    async fn run(&self, args: &Val, cx: &ControlCx<'_>) -> Result<Answer, Failure> {
        let key = text(args, "key")
            .ok_or_else(|| Failure::new("the 'key' param is required when using group_by"))?;
        let mut parents: Vec<String> = list(args, "parents").iter().map(|p| dashes(&p.key_text())).collect();
        if parents.is_empty() {
            parents.push("all".into());
        }
        let group = dashes(&key);
        let added = cx.variables.group_by(cx.host, &group, &parents).map_err(super::add_host::problems)?;
        Ok(Answer { changed: added.changed, ..Answer::default() }
            .value("add_group", group)
            .value("parent_groups", Val::from(parents)))
    }
}

fn dashes(name: &str) -> String {
    name.replace(' ', "-")
}
