//! `secret_file` (ours): one variable of an age-encrypted file on the operator's machine.

mod edit;
mod git;

use serde::Deserialize;

use self::git::Tracked;
use super::plan::Diff;
use super::{Failure, Module, Plan, PlanCx, Step, Where, file_args};
use crate::remote::{Attributes, Effect, Expect};
use crate::secret::recipients::Recipients;
use crate::secret::{Error, Identities, agefile};
use crate::source::Text;
use crate::source::hex::sha256;

/// Sets one variable of an age-encrypted YAML file of variables on the operator's machine, as
/// `seqn-play secret edit` keeps them. The file is encrypted anew to the recipients that the nearest
/// `.age-recipients` names; everything else in it stays as it is written.
pub struct SecretFile;

/// Arguments of `secret_file`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The file, on the operator's machine.
    pub path: String,
    /// The variable, at the top of the file.
    pub key: String,
    /// Its value. Always treated as a secret.
    pub value: Text,
    /// Commit the file, and nothing else, in the git work tree that it is in.
    #[serde(default)]
    pub commit: bool,
}

impl Module for SecretFile {
    type Args = Args;
    const NAME: &'static str = "secret_file";
    const COLLECTION: &'static str = "seqn.play";
    const SECRET_ARGS: &'static [&'static str] = &["value"];

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let found = cx.find("vars", &args.path)?;
        let of_file = |e: Error| Failure::from(e.about(&found));
        let io = |e: std::io::Error| Failure::from(Error::io("read", &found, &e));
        // What replaces a link would leave the file as it was.
        let path = std::fs::canonicalize(&found).map_err(io)?;
        let sealed = std::fs::read(&path).map_err(io)?;
        let Some(format) = agefile::format_of(&sealed) else {
            return Err(of_file(Error::refused("it is not encrypted with age")));
        };
        let own = Identities::from_texts(&cx.services.age_identities())?;
        let plain = agefile::decrypt(&sealed, &own).map_err(of_file)?;
        let text = plain.expose().ok_or_else(|| of_file(Error::damaged("what is in it is not text")))?;
        cx.services.keep_secret(&Text::secret(text));
        let to = Recipients::for_file(&path, &[], &own.recipients())?;
        let tracked = if args.commit { Some(Tracked::find(&path)?) } else { None };
        let edited = edit::edit(text, &args.key, &args.value).map_err(|why| of_file(Error::refused(why)))?;

        let shown = path.display().to_string();
        let mut plan = Plan::ok().value("path", shown.as_str()).value("key", args.key.as_str());
        let is_new = edited.is_some();
        if let Some(new) = edited {
            let sealed_anew = agefile::encrypt(new.as_bytes(), &to, format)?;
            let opened = agefile::decrypt(&sealed_anew, &own).map_err(|e| {
                of_file(Error::refused(format!("you could not open it yourself any more ({e})")))
                    .help("add your public key to .age-recipients")
            })?;
            if opened.expose() != Some(&new) {
                return Err(of_file(Error::damaged("what was encrypted reads back differently")));
            }
            plan.diff.push(diff(&shown, &args.key));
            let effect = Effect::Write {
                path: shown.clone(),
                content: file_args::content(sealed_anew, true),
                attributes: Attributes::default(),
                expect: Expect::Sha256(sha256(&sealed)),
                validate: None,
                backup: false,
            };
            plan = plan.step(Step { at: Where::Operator, ..Step::file(format!("write {shown}"), effect) });
        }
        if let Some(tracked) = tracked
            && (is_new || !tracked.is_clean()?)
        {
            plan = plan.step(Step { at: Where::Operator, ..tracked.commit(&args.key) });
        }
        Ok(plan)
    }
}

/// The other variables are secrets as well.
fn diff(path: &str, key: &str) -> Diff {
    let line = |which: &str| Text::new(format!("{key}: ({which} value)\n"));
    Diff {
        before_header: path.to_string(),
        after_header: path.to_string(),
        before: line("previous"),
        after: line("new"),
    }
}
