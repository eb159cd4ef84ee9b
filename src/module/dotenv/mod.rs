//! `dotenv`: one variable of a `.env` file, in any of Compose's quotings.

pub mod edit;
pub mod interpolate;
pub mod read;
#[cfg(test)]
mod tests;

use self::edit::{Duplicates, Quote, Wanted, edit};
use super::file_args::with_file_args;
use super::plan::Diff;
use super::text_edit::{self, Edited};
use super::{Failure, Module, Plan, PlanCx};
use crate::source::{Text, Val};

/// Sets or removes one variable of a `.env` file as Docker Compose v2 reads it. Comments, order,
/// quoting, `export`, line ends, mode and owner stay; the result is read again by Compose's rules
/// before it is written.
pub struct Dotenv;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

with_file_args! {
    /// Arguments of `dotenv`.
    pub struct Args {
        /// The `.env` file.
        #[serde(alias = "dest")]
        pub path: String,
        /// The variable.
        #[serde(alias = "name")]
        pub key: String,
        /// Its value, as Compose shall read it. Always treated as a secret.
        pub value: Option<Text>,
        /// Whether the variable shall be there.
        #[serde(default)]
        pub state: State,
        /// What to do where the variable is there several times: `refuse`, change `all`, or the
        /// `last`, which is the one that Compose reads.
        #[serde(default)]
        pub duplicates: Duplicates,
        /// `none`, `single` or `double`. By default as it is written now, or the plainest that can
        /// carry the value.
        pub quote: Option<Quote>,
        /// For a new variable: write `export` in front. By default as all others have it.
        pub export: Option<bool>,
        /// Make the file (mode 0600) if it isn't there.
        #[serde(default)]
        pub create: bool,
        /// Keep the previous file beside the new one. It holds the old value.
        #[serde(default)]
        pub backup: bool,
        /// A command that must succeed for the new file, given as `%s`, before it takes its place.
        pub validate: Option<Text>,
    }
}

impl Module for Dotenv {
    type Args = Args;
    const NAME: &'static str = "dotenv";
    const COLLECTION: &'static str = "seqn.play";
    const SECRET_ARGS: &'static [&'static str] = &["value"];

    fn validate(args: &Args) -> Result<(), String> {
        match (args.state, &args.value) {
            (State::Present, None) => {
                Err("state is present but all of the following are missing: value".into())
            }
            (State::Absent, Some(_)) => Err("value has no meaning with state: absent".into()),
            _ => Ok(()),
        }
    }

    async fn plan(mut args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        // What Compose reads its passwords from is nobody else's business.
        if args.create && args.mode.is_none() {
            args.mode = Some(Val::from("u=rwX,go="));
        }
        let mut attributes = args.file_args().map_err(Failure::new)?;
        let file = text_edit::open(cx, &args.path).await?;
        if file.stat().is_some() && args.create {
            attributes.mode = None;
        }
        let Some(content) = file.content().or(args.create.then_some(&[][..])) else {
            if args.state == State::Absent {
                return Ok(Plan::ok().value("msg", "file not present").value("path", file.path.as_str()));
            }
            return Err(Failure::new(format!("{} does not exist", file.path)).help("create: true makes it"));
        };
        let text = std::str::from_utf8(content)
            .map_err(|_| Failure::new(format!("{} is not UTF-8 text, so no .env file", file.path)))?;
        let wanted = Wanted {
            key: &args.key,
            value: args.value.as_deref(),
            duplicates: args.duplicates,
            quote: args.quote,
            export: args.export,
        };
        let edited = edit(text, &wanted).map_err(|e| {
            let failure = Failure::new(format!("{}: {e}", file.path));
            match e.help() {
                Some(help) => failure.help(help),
                None => failure,
            }
        })?;
        let was_there = edited.was_there;
        // It is still in the running containers, and so in what later tasks may show.
        if let Some(before) = edited.before.filter(|b| !b.is_empty()) {
            cx.services.keep_secret(&Text::secret(before));
        }
        let msg = match (&edited.text, args.state) {
            (None, _) => "",
            (Some(_), State::Present) => "value set",
            (Some(_), State::Absent) => "variable removed",
        };
        let write = text_edit::Write {
            attributes: &attributes,
            validate: args.validate.as_ref(),
            backup: args.backup,
            backup_key: ("backup", true),
            secret: true,
        };
        let change = Edited { content: edited.text.map(String::into_bytes), msg: msg.into() };
        let differs = change.content.is_some();
        let mut plan = text_edit::plan(cx, &file, change, write).await?;
        if differs {
            plan.diff.push(diff(&file.path, &args, was_there));
        }
        Ok(plan
            .value("path", file.path.as_str())
            .value("key", args.key.as_str())
            .value("derived", edited.derived))
    }
}

/// The file's content is never shown: its other lines are secrets as well.
fn diff(path: &str, args: &Args, was_there: bool) -> Diff {
    let line = |there: bool, which: &str| match there {
        true => Text::new(format!("{}=({which} value)\n", args.key)),
        false => Text::new(""),
    };
    Diff {
        before_header: path.to_string(),
        after_header: path.to_string(),
        before: line(was_there, "previous"),
        after: line(args.state == State::Present, "new"),
    }
}
