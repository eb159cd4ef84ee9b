//! The variables that Compose reads from `.env`, and whether it gets those.

use std::collections::BTreeSet;

use super::args::Args;
use super::project::{Project, below};
use crate::module::{Failure, PlanCx};
use crate::remote::{Checksum, Command, RemoteErrorKind};

impl Project {
    /// In check mode: whether the variables that Compose would read aren't on the host yet.
    pub async fn env_is_planned(&self, cx: &PlanCx<'_>) -> Result<bool, Failure> {
        for path in env_paths(&self.args, &self.dir) {
            let planned = cx.target.stat_with(&path, true, Some(Checksum::Sha256)).await?;
            let planned = planned.and_then(|stat| stat.checksum.clone());
            // A command sees the host as it is, whatever is planned.
            let present = cx.target.query(Command::argv(["sha256sum", "--", &path])).await?;
            let present = present.stdout_text().split_whitespace().next().map(str::to_string);
            if planned.is_some() && planned != present {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

pub fn env_paths(args: &Args, dir: &str) -> Vec<String> {
    match &args.env_files {
        Some(files) if !files.is_empty() => files.iter().map(|f| below(dir, f)).collect(),
        _ => vec![below(dir, ".env")],
    }
}

/// The shell's environment wins over `.env`: a variable set in both means that a changed `.env` is
/// not what the containers get.
pub async fn overridden(args: &Args, dir: &str, cx: &PlanCx<'_>) -> Result<Vec<String>, Failure> {
    let mut keys = BTreeSet::new();
    for path in env_paths(args, dir) {
        match cx.target.read(&path, 1 << 20).await {
            Ok(file) => keys.extend(keys_of(&String::from_utf8_lossy(&file.content))),
            Err(e) if e.kind == RemoteErrorKind::Unreachable => return Err(e.into()),
            Err(e) => {
                return Ok(vec![format!("{path} can't be compared with the environment: {}", e.message)]);
            }
        }
    }
    // Names only: the values are nobody's business.
    let script = "env | sed -n 's/^\\([A-Za-z_][A-Za-z0-9_]*\\)=.*/\\1/p'";
    let names = cx.target.query(Command::shell(script)).await?;
    let names = names.stdout_text();
    let own = cx.environment.iter().map(|(name, _)| (name.as_str(), "`environment:` of the task"));
    let login = names.lines().map(|name| (name, "the environment of the login on the host"));
    Ok(own
        .chain(login)
        .filter(|(name, _)| keys.contains(*name))
        .map(|(name, place)| {
            format!("{name} is set by {place}, which wins over .env: containers get that value, not the one in the file")
        })
        .collect())
}

/// The keys that a `.env` assigns.
pub fn keys_of(text: &str) -> BTreeSet<String> {
    let key = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let name = line.split(['=', ':']).next()?.trim();
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        (plain && line.contains(['=', ':'])).then(|| name.to_string())
    };
    text.lines().filter_map(key).collect()
}
