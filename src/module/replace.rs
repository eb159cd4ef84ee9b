//! `replace`: every match of a regular expression in a file.

use super::file_args::with_file_args;
use super::text_edit::{self, Edited};
use super::{Failure, Module, Plan, PlanCx};
use crate::source::Text;
use crate::source::python_re::{Flags, Pattern, PatternError};

/// Replaces every match of a regular expression in a file, or in a section of it.
pub struct Replace;

with_file_args! {
    /// Arguments of `replace`.
    pub struct Args {
        /// The file to change.
        #[serde(alias = "dest", alias = "destfile", alias = "name")]
        pub path: String,
        /// Matches are replaced; `^` and `$` are line ends.
        pub regexp: Text,
        /// What takes their place, with references (`\1`, `\g<name>`); without it they are removed.
        #[serde(default = "empty")]
        pub replace: Text,
        /// Only what follows this pattern is looked at.
        pub after: Option<String>,
        /// Only what precedes this pattern is looked at.
        pub before: Option<String>,
        /// Keep the previous file beside the new one.
        #[serde(default)]
        pub backup: bool,
        /// A command that must succeed for the new file, given as `%s`, before it takes its place.
        pub validate: Option<Text>,
        /// Only `utf-8` is supported; bytes that aren't stay as they are.
        #[serde(default = "utf8")]
        pub encoding: String,
    }
}

fn empty() -> Text {
    Text::new("")
}
fn utf8() -> String {
    "utf-8".into()
}

impl Module for Replace {
    type Args = Args;
    const NAME: &'static str = "replace";

    fn validate(args: &Args) -> Result<(), String> {
        if !matches!(args.encoding.to_lowercase().as_str(), "utf-8" | "utf8" | "ascii" | "us-ascii") {
            return Err(format!("encoding '{}' is not supported, only utf-8", args.encoding));
        }
        args.file_args().map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let failed = |e: PatternError| Failure::new(format!("Unable to process replace due to error: {e}"));
        let attributes = args.file_args().map_err(Failure::new)?;
        let file = text_edit::open(cx, &args.path).await?;
        let Some(content) = file.content() else {
            return Err(Failure::new(format!("Path {} does not exist !", file.path)).value("rc", 257));
        };
        let edited = match edit(&args, content).map_err(failed)? {
            Ok(edited) => edited,
            Err(no_section) => return Ok(Plan::ok().value("rc", 0).value("msg", no_section)),
        };
        let write = text_edit::Write {
            attributes: &attributes,
            validate: args.validate.as_ref(),
            backup: args.backup,
            backup_key: ("backup_file", false),
            secret: args.replace.is_secret(),
        };
        Ok(text_edit::plan(cx, &file, edited, write).await?.value("rc", 0))
    }
}

/// The decision; the inner error says that `after` and `before` matched nothing.
fn edit(args: &Args, content: &[u8]) -> Result<Result<Edited, String>, PatternError> {
    let filled = |p: &Option<String>| p.clone().filter(|p| !p.is_empty());
    let section = match (filled(&args.after), filled(&args.before)) {
        (Some(after), Some(before)) => Some(format!("{after}(?P<subsection>.*?){before}")),
        (Some(after), None) => Some(format!("{after}(?P<subsection>.*)")),
        (None, Some(before)) => Some(format!("(?P<subsection>.*){before}")),
        (None, None) => None,
    };
    let range = match section {
        None => 0..content.len(),
        Some(pattern) => {
            let flags = Flags { dotall: true, ..Flags::default() };
            let found = Pattern::unicode(&pattern, flags)?.search(content)?;
            match found.and_then(|m| m.group_range("subsection")) {
                Some(range) => range,
                None => {
                    return Ok(Err(format!(
                        "Pattern for before/after params did not match the given file: {pattern}"
                    )));
                }
            }
        }
    };
    let pattern = Pattern::unicode(&args.regexp, Flags { multiline: true, ..Flags::default() })?;
    let inside = &content[range.clone()];
    let (replaced, count) = pattern.replace_all(inside, args.replace.as_bytes())?;
    if count == 0 || replaced == inside {
        return Ok(Ok(Edited::default()));
    }
    let whole = [&content[..range.start], &replaced, &content[range.end..]].concat();
    Ok(Ok(Edited { content: Some(whole), msg: format!("{count} replacements made") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::from_val;
    use crate::source::{Map, Val};

    type Case = (&'static [(&'static str, &'static str)], &'static str, Option<&'static str>, &'static str);

    const CASES: &[Case] = &[
        (
            &[("regexp", "(\\s+)old\\.host(\\s+.*)?$"), ("replace", "\\1new.host\\2")],
            "1 old.host x\n2 old.host\n",
            Some("1 new.host x\n2 new.host\n"),
            "2 replacements made",
        ),
        (&[("regexp", "^a$")], "a\nb\na\n", Some("\nb\n\n"), "2 replacements made"),
        (
            &[("after", "<V>"), ("before", "</V>"), ("regexp", "^(.+)$"), ("replace", "# \\1")],
            "x\n<V>\na\n</V>\ny\n",
            Some("x\n<V>\n# a\n</V>\ny\n"),
            "1 replacements made",
        ),
        (
            &[("after", "K"), ("regexp", "a"), ("replace", "b")],
            "a K a\n",
            Some("a K b\n"),
            "1 replacements made",
        ),
        (
            &[("before", "K"), ("regexp", "a"), ("replace", "b")],
            "a K a\n",
            Some("b K a\n"),
            "1 replacements made",
        ),
        (&[("regexp", "nope"), ("replace", "x")], "a\n", None, ""),
        (&[("regexp", "a"), ("replace", "a")], "a\n", None, ""),
        (&[("regexp", "\\w+"), ("replace", "_")], "né 1", Some("_ _"), "2 replacements made"),
    ];

    fn typed(given: &[(&'static str, &str)]) -> Args {
        let mut map: Map = given.iter().map(|(k, v)| (Val::from(*k), Val::from(*v))).collect();
        map.insert(Val::from("path"), Val::from("/f"));
        from_val(&Val::map(map)).unwrap()
    }

    #[test]
    fn the_decision() {
        for (given, before, after, msg) in CASES {
            let edited = edit(&typed(given), before.as_bytes()).unwrap().unwrap();
            let got = edited.content.map(|c| String::from_utf8_lossy(&c).into_owned());
            assert_eq!((got.as_deref(), edited.msg.as_str()), (*after, *msg), "{given:?}");
        }
        let missing = edit(&typed(&[("regexp", "a"), ("after", "nope")]), b"a").unwrap().unwrap_err();
        assert!(missing.contains("did not match the given file: nope"), "{missing}");
    }
}
