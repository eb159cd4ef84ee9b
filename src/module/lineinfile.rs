//! `lineinfile`: one line of a file, present or absent.

use serde::Deserialize;

use super::file_args::with_file_args;
use super::text_edit::{self, Edited, bare, lines};
use super::{Failure, Module, Plan, PlanCx};
use crate::source::Text;
use crate::source::python_re::{Flags, Pattern, PatternError};

/// Makes sure that one line is in a file, or isn't.
pub struct LineInFile;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

with_file_args! {
    /// Arguments of `lineinfile`.
    pub struct Args {
        /// The file to change.
        #[serde(alias = "dest", alias = "destfile", alias = "name")]
        pub path: String,
        /// Whether the line shall be there.
        #[serde(default)]
        pub state: State,
        /// The last line that matches is replaced (`present`), all that match are removed (`absent`).
        #[serde(alias = "regex")]
        pub regexp: Option<Text>,
        /// As `regexp`, but literal text.
        pub search_string: Option<Text>,
        /// The line.
        #[serde(alias = "value")]
        pub line: Option<Text>,
        /// Where no line matched: insert after the last line that matches this, or `EOF` or `BOF`.
        pub insertafter: Option<String>,
        /// As `insertafter`, but before; or `BOF`.
        pub insertbefore: Option<String>,
        /// `line` holds references (`\1`) to groups of `regexp`; without a match nothing is done.
        #[serde(default)]
        pub backrefs: bool,
        /// Make the file if it isn't there.
        #[serde(default)]
        pub create: bool,
        /// Keep the previous file beside the new one.
        #[serde(default)]
        pub backup: bool,
        /// The first match counts instead of the last.
        #[serde(default)]
        pub firstmatch: bool,
        /// A command that must succeed for the new file, given as `%s`, before it takes its place.
        pub validate: Option<Text>,
    }
}

impl Module for LineInFile {
    type Args = Args;
    const NAME: &'static str = "lineinfile";

    fn validate(args: &Args) -> Result<(), String> {
        let exclusive = [
            ("insertbefore|insertafter", args.insertbefore.is_some() && args.insertafter.is_some()),
            ("regexp|search_string", args.regexp.is_some() && args.search_string.is_some()),
            ("backrefs|search_string", args.backrefs && args.search_string.is_some()),
        ];
        if let Some((names, _)) = exclusive.iter().find(|(_, both)| *both) {
            return Err(format!("parameters are mutually exclusive: {names}"));
        }
        match args.state {
            State::Present if args.backrefs && args.regexp.is_none() => {
                Err("regexp is required with backrefs=true".into())
            }
            State::Present if args.line.is_none() => Err("line is required with state=present".into()),
            State::Absent if args.regexp.is_none() && args.search_string.is_none() && args.line.is_none() => {
                Err("one of line, search_string, or regexp is required with state=absent".into())
            }
            _ => args.file_args().map(drop),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let edit = Edit::new(&args).map_err(|e| Failure::new(e.to_string()))?;
        let attributes = args.file_args().map_err(Failure::new)?;
        let file = text_edit::open(cx, &args.path).await?;
        let write = text_edit::Write {
            attributes: &attributes,
            validate: args.validate.as_ref(),
            backup: args.backup,
            backup_key: ("backup", true),
            secret: args.line.as_ref().is_some_and(Text::is_secret),
        };
        let failed = |e: PatternError| Failure::new(e.to_string());
        let mut plan = match args.state {
            State::Present => {
                if file.content().is_none() && !args.create {
                    return Err(Failure::new(format!("Destination {} does not exist !", file.path))
                        .value("rc", 257)
                        .help("create: true makes it"));
                }
                let edited = edit.present(file.content().unwrap_or_default()).map_err(failed)?;
                text_edit::plan(cx, &file, edited, write).await?
            }
            State::Absent => {
                let Some(content) = file.content() else {
                    return Ok(Plan::ok().value("msg", "file not present"));
                };
                let (edited, found) = edit.absent(content).map_err(failed)?;
                text_edit::plan(cx, &file, edited, write).await?.value("found", found as i64)
            }
        };
        plan.warnings.extend(empty_search_warning(&args));
        Ok(plan)
    }
}

fn empty_search_warning(args: &Args) -> Option<String> {
    let is_empty = |t: &Option<Text>| t.as_deref() == Some("");
    let (name, instead) = if is_empty(&args.regexp) {
        (
            "regular expression",
            " If this is desired, use '^' to match every line in the file and avoid this warning.",
        )
    } else if is_empty(&args.search_string) {
        ("search string", "")
    } else {
        return None;
    };
    Some(format!(
        "The {name} is an empty string, which will match every line in the file. This may have unintended \
         consequences, such as replacing the last line in the file rather than appending.{instead}"
    ))
}

/// What to look for and where to put the line: the pure decision.
#[derive(Debug)]
pub struct Edit {
    line: Vec<u8>,
    search: Search,
    place: Place,
    backrefs: bool,
    firstmatch: bool,
}

#[derive(Debug)]
enum Search {
    Nothing,
    Pattern(Pattern),
    Literal(Vec<u8>),
}

#[derive(Debug)]
enum Place {
    End,
    Begin,
    After(Pattern),
    Before(Pattern),
}

impl Edit {
    /// # Errors
    /// A pattern that Python would refuse.
    pub fn new(args: &Args) -> Result<Edit, PatternError> {
        let compile = |p: &str| Pattern::bytes(p, Flags::default());
        let search = match (&args.regexp, &args.search_string) {
            (Some(regexp), _) => Search::Pattern(compile(regexp)?),
            (None, Some(text)) => Search::Literal(text.as_bytes().to_vec()),
            (None, None) => Search::Nothing,
        };
        let place = match (args.insertafter.as_deref(), args.insertbefore.as_deref()) {
            (Some("BOF"), _) | (None, Some("BOF")) => Place::Begin,
            (None | Some("EOF" | ""), None) | (None, Some("")) => Place::End,
            (Some(after), _) => Place::After(compile(after)?),
            (None, Some(before)) => Place::Before(compile(before)?),
        };
        Ok(Edit {
            line: args.line.as_ref().map(|l| l.as_bytes().to_vec()).unwrap_or_default(),
            search,
            place,
            backrefs: args.backrefs,
            firstmatch: args.firstmatch,
        })
    }

    fn matches(&self, line: &[u8]) -> Result<bool, PatternError> {
        match &self.search {
            Search::Nothing => Ok(false),
            Search::Pattern(p) => p.is_match(line),
            Search::Literal(text) => Ok(text.is_empty() || line.windows(text.len()).any(|w| w == text)),
        }
    }

    /// `state: present` on the content of a file.
    ///
    /// # Errors
    /// A pattern ran for too long, or `line` refers to a group that isn't there.
    pub fn present(&self, content: &[u8]) -> Result<Edited, PatternError> {
        let before = lines(content);
        let mut matched = None;
        for (number, line) in before.iter().enumerate() {
            if self.matches(line)? {
                matched = Some(number);
                if self.firstmatch {
                    break;
                }
            }
        }
        let (mut same, mut anchor) = (None, None);
        if matched.is_none() {
            for (number, line) in before.iter().enumerate() {
                if bare(line) == self.line {
                    same = Some(number);
                    continue;
                }
                let (pattern, offset) = match &self.place {
                    Place::After(p) => (p, 1),
                    Place::Before(p) => (p, 0),
                    Place::Begin | Place::End => continue,
                };
                if pattern.is_match(line)? {
                    anchor = Some(number + offset);
                    if self.firstmatch {
                        break;
                    }
                }
            }
        }

        if let Some(number) = matched.or(same) {
            let mut new = match &self.search {
                Search::Pattern(p) if self.backrefs && matched.is_some() => {
                    let found = p.search(before[number])?.unwrap_or_default();
                    found.expand(&self.line)?
                }
                _ => self.line.clone(),
            };
            if !new.ends_with(b"\n") {
                new.push(b'\n');
            }
            if new == before[number] {
                return Ok(Edited::default());
            }
            return Ok(Edited {
                content: Some([before[..number].concat(), new, before[number + 1..].concat()].concat()),
                msg: "line replaced".into(),
            });
        }
        if self.backrefs {
            // Without a match there is nothing to fill the references with.
            return Ok(Edited::default());
        }
        let at = match (&self.place, anchor) {
            (Place::Begin, _) => 0,
            (Place::End, _) | (_, None) => return Ok(added(self.append(content))),
            (Place::After(_), Some(at)) if at == before.len() => return Ok(added(self.append(content))),
            // With `firstmatch` the search for the line itself ended before its neighbour.
            (Place::After(_), Some(at)) if bare(before[at]) == self.line => return Ok(Edited::default()),
            (Place::After(_), Some(at)) => at,
            (Place::Before(_), Some(at)) => at,
        };
        let mut new = before[..at].concat();
        new.extend_from_slice(&self.line);
        new.push(b'\n');
        new.extend(before[at..].concat());
        Ok(added(new))
    }

    fn append(&self, content: &[u8]) -> Vec<u8> {
        let mut new = content.to_vec();
        if !content.is_empty() && !content.ends_with(b"\n") && !content.ends_with(b"\r") {
            new.push(b'\n');
        }
        new.extend_from_slice(&self.line);
        new.push(b'\n');
        new
    }

    /// `state: absent`; also how many lines went.
    ///
    /// # Errors
    /// A pattern ran for too long.
    pub fn absent(&self, content: &[u8]) -> Result<(Edited, usize), PatternError> {
        let (mut kept, mut found) = (Vec::with_capacity(content.len()), 0);
        for line in lines(content) {
            let goes = match &self.search {
                Search::Nothing => bare(line) == self.line,
                _ => self.matches(line)?,
            };
            if goes {
                found += 1;
            } else {
                kept.extend_from_slice(line);
            }
        }
        let edited = match found {
            0 => Edited::default(),
            n => Edited { content: Some(kept), msg: format!("{n} line(s) removed") },
        };
        Ok((edited, found))
    }
}

fn added(content: Vec<u8>) -> Edited {
    Edited { content: Some(content), msg: "line added".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::{self, from_val};
    use crate::source::{Map, Val};

    fn edit(given: &[(&'static str, &str)]) -> (Edit, State) {
        let mut map: Map = given.iter().map(|(k, v)| (Val::from(*k), Val::from(*v))).collect();
        map.insert(Val::from("path"), Val::from("/f"));
        let args: Args = from_val(&Val::map(map)).unwrap();
        LineInFile::validate(&args).unwrap_or_else(|e| panic!("{e}"));
        (Edit::new(&args).unwrap(), args.state)
    }

    /// Arguments, before, after (`None`: unchanged), message.
    type Case = (&'static [(&'static str, &'static str)], &'static [u8], Option<&'static [u8]>, &'static str);

    const CASES: &[Case] = &[
        // The documentation's cases.
        (
            &[("regexp", "^SELINUX="), ("line", "SELINUX=enforcing")],
            b"a\nSELINUX=off\nb\n",
            Some(b"a\nSELINUX=enforcing\nb\n"),
            "line replaced",
        ),
        (&[("regexp", "^SELINUX="), ("line", "SELINUX=enforcing")], b"SELINUX=enforcing\n", None, ""),
        (&[("regexp", "^%w"), ("state", "absent")], b"%w x\ny\n%wz\n", Some(b"y\n"), "2 line(s) removed"),
        (&[("regexp", "^%w"), ("state", "absent")], b"y\n", None, ""),
        (
            &[("search_string", "127.0.0.1"), ("line", "127.0.0.1 localhost")],
            b"127.0.0.1 x\n",
            Some(b"127.0.0.1 localhost\n"),
            "line replaced",
        ),
        (
            &[("regexp", "^Listen "), ("insertafter", "^#Listen "), ("line", "Listen 8080")],
            b"#Listen 80\n#Listen 81\nx\n",
            Some(b"#Listen 80\n#Listen 81\nListen 8080\nx\n"),
            "line added",
        ),
        (
            &[("regexp", "^www"), ("insertbefore", "^# port"), ("line", "www 80")],
            b"a\n# port x\n",
            Some(b"a\nwww 80\n# port x\n"),
            "line added",
        ),
        (
            &[("regexp", "^(.*)Xms(\\d+)m(.*)$"), ("line", "\\1Xms${xms}m\\3"), ("backrefs", "yes")],
            b"java -Xms5m -x\n",
            Some(b"java -Xms${xms}m -x\n"),
            "line replaced",
        ),
        (&[("regexp", "^(no)"), ("line", "\\1x"), ("backrefs", "yes")], b"a\n", None, ""),
        // Where the line goes.
        (&[("line", "z")], b"a\n", Some(b"a\nz\n"), "line added"),
        (&[("line", "z")], b"", Some(b"z\n"), "line added"),
        (&[("line", "z")], b"a", Some(b"a\nz\n"), "line added"),
        (&[("line", "a")], b"a", Some(b"a\n"), "line replaced"),
        (&[("line", "z"), ("insertafter", "EOF")], b"a\n", Some(b"a\nz\n"), "line added"),
        (&[("line", "z"), ("insertbefore", "BOF")], b"a\n", Some(b"z\na\n"), "line added"),
        (&[("line", "z"), ("insertafter", "BOF")], b"a\n", Some(b"z\na\n"), "line added"),
        (&[("line", "z"), ("insertafter", "^a")], b"a", Some(b"a\nz\n"), "line added"),
        (&[("line", "z"), ("insertafter", "^no")], b"a\n", Some(b"a\nz\n"), "line added"),
        (&[("line", "z"), ("insertbefore", "^no")], b"a\n", Some(b"a\nz\n"), "line added"),
        (&[("line", "z"), ("insertafter", "^a")], b"a\nz\n", None, ""),
        (&[("line", "z"), ("insertbefore", "^a")], b"q\na\nz\n", None, ""),
        // Which match counts.
        (&[("regexp", "^k"), ("line", "K")], b"k1\nk2\n", Some(b"k1\nK\n"), "line replaced"),
        (
            &[("regexp", "^k"), ("line", "K"), ("firstmatch", "yes")],
            b"k1\nk2\n",
            Some(b"K\nk2\n"),
            "line replaced",
        ),
        (
            &[("insertafter", "^k"), ("line", "K"), ("firstmatch", "yes")],
            b"k1\nk2\n",
            Some(b"k1\nK\nk2\n"),
            "line added",
        ),
        (
            &[("insertbefore", "^k"), ("line", "K"), ("firstmatch", "yes")],
            b"k1\nk2\n",
            Some(b"K\nk1\nk2\n"),
            "line added",
        ),
        (&[("insertafter", "^k"), ("line", "K"), ("firstmatch", "yes")], b"k1\nK\nk2\n", None, ""),
        (&[("insertbefore", "^k"), ("line", "K")], b"k1\nk2\n", Some(b"k1\nK\nk2\n"), "line added"),
        // Absent by line is exact, by search_string anywhere.
        (&[("line", "a"), ("state", "absent")], b"a\na b\na", Some(b"a b\n"), "2 line(s) removed"),
        (&[("search_string", "a"), ("state", "absent")], b"xax\nb\n", Some(b"b\n"), "1 line(s) removed"),
        // CRLF: the line that is written ends with LF, the others keep what they have.
        (&[("line", "a"), ("state", "absent")], b"a\r\nb\r\n", Some(b"b\r\n"), "1 line(s) removed"),
        (&[("line", "a")], b"a\r\nb\r\n", Some(b"a\nb\r\n"), "line replaced"),
        (&[("line", "c")], b"a\r\nb\r\n", Some(b"a\r\nb\r\nc\n"), "line added"),
        (&[("regexp", "^b\r$"), ("line", "B\r")], b"a\r\nb\r\n", Some(b"a\r\nB\r\n"), "line replaced"),
        // A file that is neither UTF-8 nor text keeps every byte.
        (
            &[("regexp", "^k=.*$"), ("line", "k=v")],
            b"\xff\x00\nk=\xe9\n\x80",
            Some(b"\xff\x00\nk=v\n\x80"),
            "line replaced",
        ),
        (
            &[("regexp", "^(k)=(.*)$"), ("line", "\\2=\\1"), ("backrefs", "1")],
            b"k=\xe9\n",
            Some(b"\xe9=k\n"),
            "line replaced",
        ),
        // Python's `$` is before the final newline, `\s` also it.
        (&[("regexp", "^a$"), ("line", "b")], b"a\n", Some(b"b\n"), "line replaced"),
        (&[("regexp", ""), ("line", "z")], b"a\nb\n", Some(b"a\nz\n"), "line replaced"),
        (&[("regexp", "^no"), ("line", "b")], b"a\nb\n", None, ""),
    ];

    #[test]
    fn the_decision() {
        for (given, before, after, msg) in CASES {
            let (edit, state) = edit(given);
            let edited = match state {
                State::Present => edit.present(before).unwrap(),
                State::Absent => edit.absent(before).unwrap().0,
            };
            let shown = edited.content.as_deref().map(String::from_utf8_lossy);
            assert_eq!(edited.content.as_deref(), *after, "{given:?} gave {shown:?}");
            assert_eq!(edited.msg, *msg, "{given:?}");
            if let (Some(content), State::Present, false) = (edited.content, state, edit.backrefs) {
                let again = edit.present(&content).unwrap();
                // A pattern that doesn't match the line it writes goes on to the next, as in Ansible.
                let settles = matches!(edit.search, Search::Nothing) || edit.matches(&edit.line).unwrap();
                assert!(again.content.is_none() || !settles, "{given:?} is not idempotent");
            }
        }
    }

    #[test]
    fn arguments_that_exclude_each_other() {
        let check = |given: &[(&'static str, &str)]| {
            let given = args::args(given.iter().map(|(k, v)| (*k, Val::from(*v))));
            LineInFile::validate(&from_val::<Args>(&given).unwrap()).unwrap_err()
        };
        assert_eq!(check(&[("path", "x")]), "line is required with state=present");
        assert_eq!(
            check(&[("path", "x"), ("line", "l"), ("backrefs", "y")]),
            "regexp is required with backrefs=true"
        );
        assert_eq!(
            check(&[("path", "x"), ("line", "l"), ("insertafter", "a"), ("insertbefore", "b")]),
            "parameters are mutually exclusive: insertbefore|insertafter"
        );
        assert_eq!(
            check(&[("path", "x"), ("state", "absent")]),
            "one of line, search_string, or regexp is required with state=absent"
        );
        assert!(check(&[("path", "x"), ("line", "l"), ("mode", "rwx")]).contains("octal or symbolic"));
    }
}
