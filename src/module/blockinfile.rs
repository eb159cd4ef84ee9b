//! `blockinfile`: a block of lines between two markers.

use serde::Deserialize;

use super::file_args::with_file_args;
use super::text_edit::{self, Edited};
use super::{Failure, Module, Plan, PlanCx};
use crate::source::Text;
use crate::source::python_re::{Flags, Pattern, PatternError};

/// Makes sure that a block of lines, between two marker lines, is in a file, or isn't.
pub struct BlockInFile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

with_file_args! {
    /// Arguments of `blockinfile`.
    pub struct Args {
        /// The file to change.
        #[serde(alias = "dest", alias = "destfile", alias = "name")]
        pub path: String,
        /// Whether the block shall be there.
        #[serde(default)]
        pub state: State,
        /// The marker lines; `{mark}` becomes `marker_begin` and `marker_end`.
        #[serde(default = "default_marker")]
        pub marker: String,
        /// The lines between the markers; none at all removes the block.
        #[serde(default = "empty", alias = "content")]
        pub block: Text,
        /// A new block goes after the last line that matches this, or to `EOF`.
        pub insertafter: Option<String>,
        /// A new block goes before the last line that matches this, or to `BOF`.
        pub insertbefore: Option<String>,
        /// Make the file if it isn't there.
        #[serde(default)]
        pub create: bool,
        /// Keep the previous file beside the new one.
        #[serde(default)]
        pub backup: bool,
        /// A command that must succeed for the new file, given as `%s`, before it takes its place.
        pub validate: Option<Text>,
        /// What `{mark}` is in the first marker line.
        #[serde(default = "default_begin")]
        pub marker_begin: String,
        /// What `{mark}` is in the last marker line.
        #[serde(default = "default_end")]
        pub marker_end: String,
        /// An empty line after the block, unless it ends the file.
        #[serde(default)]
        pub append_newline: bool,
        /// An empty line before the block, unless it begins the file.
        #[serde(default)]
        pub prepend_newline: bool,
    }
}

fn default_marker() -> String {
    "# {mark} ANSIBLE MANAGED BLOCK".into()
}
fn default_begin() -> String {
    "BEGIN".into()
}
fn default_end() -> String {
    "END".into()
}
fn empty() -> Text {
    Text::new("")
}

impl Module for BlockInFile {
    type Args = Args;
    const NAME: &'static str = "blockinfile";

    fn validate(args: &Args) -> Result<(), String> {
        if args.insertbefore.is_some() && args.insertafter.is_some() {
            return Err("parameters are mutually exclusive: insertbefore|insertafter".into());
        }
        args.file_args().map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let edit = Edit::new(&args).map_err(|e| Failure::new(e.to_string()))?;
        let attributes = args.file_args().map_err(Failure::new)?;
        let file = text_edit::open(cx, &args.path).await?;
        if file.content().is_none() {
            if !args.create {
                return Err(Failure::new(format!("Path {} does not exist !", file.path))
                    .value("rc", 257)
                    .help("create: true makes it"));
            }
            if args.state == State::Absent {
                return Ok(Plan::ok().value("msg", format!("File {} not present", file.path)));
            }
        }
        let edited = edit.apply(file.content()).map_err(|e| Failure::new(e.to_string()))?;
        let write = text_edit::Write {
            attributes: &attributes,
            validate: args.validate.as_ref(),
            backup: args.backup,
            backup_key: ("backup_file", false),
            secret: args.block.is_secret(),
        };
        text_edit::plan(cx, &file, edited, write).await
    }
}

/// The block and its place: the pure decision.
#[derive(Debug)]
pub struct Edit {
    begin: Vec<u8>,
    end: Vec<u8>,
    /// Markers included; empty: to be removed.
    block: Vec<u8>,
    place: Place,
    present: bool,
    append_newline: bool,
    prepend_newline: bool,
}

#[derive(Debug)]
enum Place {
    Begin,
    End,
    After(Pattern),
    Before(Pattern),
}

impl Edit {
    /// # Errors
    /// A pattern that Python would refuse.
    pub fn new(args: &Args) -> Result<Edit, PatternError> {
        let compile = |p: &str| Pattern::bytes(p, Flags::default());
        let place = match (args.insertafter.as_deref(), args.insertbefore.as_deref()) {
            (Some("EOF") | None, None) => Place::End,
            (None, Some("BOF")) => Place::Begin,
            (Some(after), _) => Place::After(compile(after)?),
            (None, Some(before)) => Place::Before(compile(before)?),
        };
        let marker = |mark: &str| format!("{}\n", args.marker.replace("{mark}", mark)).into_bytes();
        let (begin, end) = (marker(&args.marker_begin), marker(&args.marker_end));
        let present = args.state == State::Present;
        let mut block = Vec::new();
        if present && !args.block.is_empty() {
            block.extend_from_slice(&begin);
            block.extend_from_slice(args.block.as_bytes());
            if !block.ends_with(b"\n") {
                block.push(b'\n');
            }
            block.extend_from_slice(&end);
        }
        Ok(Edit {
            begin,
            end,
            block,
            place,
            present,
            append_newline: args.append_newline,
            prepend_newline: args.prepend_newline,
        })
    }

    /// The decision for a file's content; `None`: there is no file yet.
    ///
    /// # Errors
    /// A pattern ran for too long.
    pub fn apply(&self, original: Option<&[u8]>) -> Result<Edited, PatternError> {
        let content = original.unwrap_or_default();
        let mut lines: Vec<Vec<u8>> = split_lines(content).into_iter().map(<[u8]>::to_vec).collect();
        let last = |marker: &[u8]| lines.iter().rposition(|l| l == marker);
        let at = match (last(&self.begin), last(&self.end)) {
            (Some(begin), Some(end)) => {
                let (first, last) = (begin.min(end), begin.max(end));
                lines.drain(first..=last);
                first
            }
            _ => self.place(content, &lines)?.min(lines.len()),
        };
        self.insert(&mut lines, at);
        let result = lines.concat();
        let msg = match original {
            Some(original) if original == result => return Ok(Edited::default()),
            None => "File created",
            Some(_) if self.block.is_empty() => "Block removed",
            Some(_) => "Block inserted",
        };
        Ok(Edited { content: Some(result), msg: msg.into() })
    }

    /// The number of the line before which a new block goes.
    fn place(&self, content: &[u8], lines: &[Vec<u8>]) -> Result<usize, PatternError> {
        let (pattern, after) = match &self.place {
            Place::Begin => return Ok(0),
            Place::End => return Ok(lines.len()),
            Place::After(p) => (p, true),
            Place::Before(p) => (p, false),
        };
        let mut found = None;
        if pattern.flags().multiline {
            // Only then can a match span lines.
            found = pattern.search(content)?.map(|m| {
                let until = if after { m.range().end } else { m.range().start };
                content[..until].iter().filter(|b| **b == b'\n').count()
            });
        } else {
            for (number, line) in lines.iter().enumerate() {
                if pattern.is_match(line)? {
                    found = Some(number);
                }
            }
        }
        Ok(found.map_or(lines.len(), |n| n + usize::from(after)))
    }

    fn insert(&self, lines: &mut Vec<Vec<u8>>, at: usize) {
        let mut at = at;
        if let Some(previous) = at.checked_sub(1).and_then(|i| lines.get_mut(i))
            && !previous.ends_with(b"\n")
        {
            previous.push(b'\n');
        }
        if self.prepend_newline && self.present && at > 0 && lines[at - 1] != b"\n" {
            lines.insert(at, b"\n".to_vec());
            at += 1;
        }
        let mut next = at;
        if !self.block.is_empty() {
            lines.insert(at, self.block.clone());
            next += 1;
        }
        if self.append_newline && self.present && lines.get(next).is_some_and(|l| l != b"\n") {
            lines.insert(next, b"\n".to_vec());
        }
    }
}

/// As Python's `bytes.splitlines(True)`: after `\n`, `\r` and `\r\n`.
fn split_lines(content: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut start, mut at) = (Vec::new(), 0, 0);
    while at < content.len() {
        let end = match content[at] {
            b'\r' if content.get(at + 1) == Some(&b'\n') => at + 2,
            b'\r' | b'\n' => at + 1,
            _ => {
                at += 1;
                continue;
            }
        };
        lines.push(&content[start..end]);
        (start, at) = (end, end);
    }
    if start < content.len() {
        lines.push(&content[start..]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::from_val;
    use crate::source::{Map, Val};

    fn edit(given: &[(&'static str, &str)]) -> Edit {
        let mut map: Map = given.iter().map(|(k, v)| (Val::from(*k), Val::from(*v))).collect();
        map.insert(Val::from("path"), Val::from("/f"));
        let args: Args = from_val(&Val::map(map)).unwrap();
        BlockInFile::validate(&args).unwrap_or_else(|e| panic!("{e}"));
        Edit::new(&args).unwrap()
    }

    const B: &str = "# BEGIN ANSIBLE MANAGED BLOCK\n";
    const E: &str = "# END ANSIBLE MANAGED BLOCK\n";

    /// Arguments, before, after, message. `B` and `E` stand for marker lines.
    type Case =
        (&'static [(&'static str, &'static str)], Option<&'static str>, Option<&'static str>, &'static str);

    const CASES: &[Case] = &[
        (&[("block", "x")], Some("a\n"), Some("a\nBx\nE"), "Block inserted"),
        (&[("block", "x\n")], Some("a"), Some("a\nBx\nE"), "Block inserted"),
        (&[("block", "x")], Some("a\nBx\nEb\n"), None, ""),
        (&[("block", "y")], Some("a\nBx\nEb\n"), Some("a\nBy\nEb\n"), "Block inserted"),
        (&[("block", "x")], None, Some("Bx\nE"), "File created"),
        (&[("block", "")], Some("a\nBx\nEb\n"), Some("a\nb\n"), "Block removed"),
        (&[("state", "absent"), ("block", "x")], Some("a\nBx\nEb\n"), Some("a\nb\n"), "Block removed"),
        (&[("state", "absent")], Some("a\n"), None, ""),
        (
            &[("block", "x"), ("insertafter", "^a")],
            Some("a\na2\nb\n"),
            Some("a\na2\nBx\nEb\n"),
            "Block inserted",
        ),
        (&[("block", "x"), ("insertbefore", "^b")], Some("a\nb\n"), Some("a\nBx\nEb\n"), "Block inserted"),
        (&[("block", "x"), ("insertbefore", "BOF")], Some("a\n"), Some("Bx\nEa\n"), "Block inserted"),
        (&[("block", "x"), ("insertafter", "EOF")], Some("a\n"), Some("a\nBx\nE"), "Block inserted"),
        (&[("block", "x"), ("insertafter", "^no")], Some("a\n"), Some("a\nBx\nE"), "Block inserted"),
        (
            &[("block", "x"), ("insertafter", "(?m)a\\nb")],
            Some("a\nb\nc\n"),
            Some("a\nb\nBx\nEc\n"),
            "Block inserted",
        ),
        (
            &[("block", "x"), ("insertbefore", "(?m)b\\nc")],
            Some("a\nb\nc\n"),
            Some("a\nBx\nEb\nc\n"),
            "Block inserted",
        ),
        (
            &[
                ("block", "x"),
                ("marker", "<!-- {mark} -->"),
                ("marker_begin", "open"),
                ("marker_end", "close"),
            ],
            Some("a\n"),
            Some("a\n<!-- open -->\nx\n<!-- close -->\n"),
            "Block inserted",
        ),
        // Markers in the wrong order, and one alone.
        (&[("block", "y")], Some("a\nEx\nBb\n"), Some("a\nBy\nEb\n"), "Block inserted"),
        (&[("block", "y")], Some("a\nBx\n"), Some("a\nBx\nBy\nE"), "Block inserted"),
        // Empty lines around it.
        (&[("block", "x"), ("prepend_newline", "yes")], Some("a\n"), Some("a\n\nBx\nE"), "Block inserted"),
        (&[("block", "x"), ("prepend_newline", "yes")], Some("a\n\nBx\nE"), None, ""),
        (
            &[("block", "x"), ("prepend_newline", "y"), ("insertbefore", "BOF")],
            Some("a\n"),
            Some("Bx\nEa\n"),
            "Block inserted",
        ),
        (
            &[("block", "x"), ("append_newline", "yes"), ("insertbefore", "BOF")],
            Some("a\n"),
            Some("Bx\nE\na\n"),
            "Block inserted",
        ),
        (&[("block", "x"), ("append_newline", "yes")], Some("a\n"), Some("a\nBx\nE"), "Block inserted"),
        // CRLF inside and around stays.
        (&[("block", "d\r\n")], Some("u\r\nBd\nE"), Some("u\r\nBd\r\nE"), "Block inserted"),
    ];

    #[test]
    fn the_decision() {
        let marked = |text: &str| -> String {
            let whole = |c: char| match c {
                'B' => B.to_string(),
                'E' => E.to_string(),
                c => c.to_string(),
            };
            text.chars().map(whole).collect()
        };
        for (given, before, after, msg) in CASES {
            let edit = edit(given);
            let edited = edit.apply(before.map(marked).as_deref().map(str::as_bytes)).unwrap();
            let got = edited.content.as_deref().map(|c| String::from_utf8_lossy(c).into_owned());
            assert_eq!(got, after.map(marked), "{given:?}");
            assert_eq!(edited.msg, *msg, "{given:?}");
            if let Some(content) = edited.content
                && !edit.block.is_empty()
            {
                assert_eq!(edit.apply(Some(&content)).unwrap(), Edited::default(), "{given:?} again");
            }
        }
    }

    #[test]
    fn every_other_byte_stays() {
        let edited = edit(&[("block", "x")]).apply(Some(b"\xff\x00\r\xc3")).unwrap().content.unwrap();
        assert!(edited.starts_with(b"\xff\x00\r\xc3\n# BEGIN"), "{edited:?}");
    }
}
