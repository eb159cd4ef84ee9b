//! `assemble`: one file from the fragments in a folder.

use futures::future::try_join_all;

use super::file_args::with_file_args;
use super::place::{Payload, Placing, place};
use super::text_edit::MAX_SIZE;
use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::remote::FileKind;
use crate::source::Text;
use crate::source::python_re::{Flags, Pattern};

/// Puts fragments together to one file, in the order of their names.
pub struct Assemble;

with_file_args! {
    /// Arguments of `assemble`.
    pub struct Args {
        /// The folder with the fragments.
        pub src: String,
        /// Where the file goes.
        pub dest: String,
        /// Text between fragments; `\n` and other escapes are read.
        pub delimiter: Option<String>,
        /// Only fragments whose names match.
        pub regexp: Option<String>,
        /// Leave out fragments whose names begin with a dot.
        #[serde(default)]
        pub ignore_hidden: bool,
        /// The folder is on the host; otherwise on the operator's machine.
        #[serde(default = "yes")]
        pub remote_src: bool,
        /// Keep the previous file beside the new one.
        #[serde(default)]
        pub backup: bool,
        /// A link at `dest` is looked through.
        #[serde(default)]
        pub follow: bool,
        /// A command that must succeed for the new file, given as `%s`, before it takes its place.
        pub validate: Option<Text>,
        /// Vault-encrypted fragments of ours are opened.
        #[serde(default = "yes")]
        pub decrypt: bool,
    }
}

fn yes() -> bool {
    true
}

impl Module for Assemble {
    type Args = Args;
    const NAME: &'static str = "assemble";

    fn validate(args: &Args) -> Result<(), String> {
        if let Some(validate) = &args.validate
            && !validate.is_template()
            && !validate.contains("%s")
        {
            return Err(format!("validate must contain %s: {}", validate.as_str()));
        }
        args.file_args().map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let attributes = args.file_args().map_err(Failure::new)?;
        let wanted = Wanted::new(&args)?;
        let dest = host_path::expand(cx.target, &args.dest).await?;
        let (fragments, secret, src) = if args.remote_src {
            let src = host_path::expand(cx.target, &args.src).await?;
            (host_fragments(cx, &src, &wanted).await?, false, src)
        } else {
            operator_fragments(cx, &args, &wanted)?
        };
        let payload = Payload::inline(join(&fragments, args.delimiter.as_deref()), secret, None);
        let basename = host_path::basename(src.trim_end_matches('/')).to_string();
        let placing = Placing {
            dest,
            basename: Some(&basename),
            attributes,
            directory_mode: None,
            force: true,
            backup: args.backup,
            validate: args.validate.as_ref(),
            follow: args.follow || args.remote_src,
        };
        let plan = place(cx, &placing, &payload).await?.into_plan(&payload);
        Ok(plan.value("src", src).value("msg", "OK"))
    }
}

/// Which fragments count.
struct Wanted {
    regexp: Option<Pattern>,
    ignore_hidden: bool,
}

impl Wanted {
    fn new(args: &Args) -> Result<Wanted, Failure> {
        let invalid = |given: &str, e: String| Failure::new(format!("Invalid Regexp ({e}) in \"{given}\""));
        let regexp = match &args.regexp {
            Some(given) => {
                Some(Pattern::unicode(given, Flags::default()).map_err(|e| invalid(given, e.to_string()))?)
            }
            None => None,
        };
        Ok(Wanted { regexp, ignore_hidden: args.ignore_hidden })
    }

    fn takes(&self, name: &str) -> Result<bool, Failure> {
        if self.ignore_hidden && name.starts_with('.') {
            return Ok(false);
        }
        match &self.regexp {
            Some(pattern) => pattern.is_match(name.as_bytes()).map_err(|e| Failure::new(e.to_string())),
            None => Ok(true),
        }
    }
}

async fn host_fragments(cx: &PlanCx<'_>, src: &str, wanted: &Wanted) -> Result<Vec<Vec<u8>>, Failure> {
    match cx.target.stat(src).await? {
        None => return Err(Failure::new(format!("Source ({src}) does not exist"))),
        Some(stat) if stat.kind != FileKind::Directory => {
            return Err(Failure::new(format!("Source ({src}) is not a directory")));
        }
        Some(_) => {}
    }
    let mut paths = Vec::new();
    for entry in cx.target.list(src, false).await?.iter() {
        let may_be_file = matches!(entry.kind, FileKind::File | FileKind::Link);
        if may_be_file && wanted.takes(host_path::basename(&entry.path))? {
            paths.push(entry.path.clone());
        }
    }
    paths.sort();
    let mut files = Vec::new();
    for some in paths.chunks(16) {
        files.extend(try_join_all(some.iter().map(|path| cx.target.read(path, MAX_SIZE))).await?);
    }
    let is_file = |kind: Option<FileKind>| kind == Some(FileKind::File);
    Ok(files.iter().filter(|f| is_file(f.stat.as_ref().map(|s| s.kind))).map(|f| f.content.clone()).collect())
}

type Fragments = (Vec<Vec<u8>>, bool, String);

fn operator_fragments(cx: &PlanCx<'_>, args: &Args, wanted: &Wanted) -> Result<Fragments, Failure> {
    let folder = cx.find("files", &args.src)?;
    let shown = folder.display().to_string();
    if !folder.is_dir() {
        return Err(Failure::new(format!("Source ({shown}) is not a directory")));
    }
    let failed = |e: std::io::Error| Failure::new(format!("could not read {shown}: {e}"));
    let mut entries: Vec<_> =
        std::fs::read_dir(&folder).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let (mut fragments, mut secret) = (Vec::new(), false);
    for entry in entries {
        if !entry.path().is_file() || !wanted.takes(&entry.file_name().to_string_lossy())? {
            continue;
        }
        let bytes = std::fs::read(entry.path()).map_err(failed)?;
        let vault = args.decrypt && bytes.starts_with(b"$ANSIBLE_VAULT;");
        let (bytes, opened) = if vault { cx.services.open_encrypted(&bytes)? } else { (bytes, false) };
        secret |= opened;
        fragments.push(bytes);
    }
    Ok((fragments, secret, shown))
}

/// Fragments with newlines and delimiters between them.
fn join(fragments: &[Vec<u8>], delimiter: Option<&str>) -> Vec<u8> {
    let delimiter = delimiter.filter(|d| !d.is_empty()).map(unescape);
    let mut out: Vec<u8> = Vec::new();
    for (number, fragment) in fragments.iter().enumerate() {
        if number > 0 && !fragments[number - 1].ends_with(b"\n") {
            out.push(b'\n');
        }
        if number > 0
            && let Some(delimiter) = &delimiter
        {
            out.extend_from_slice(delimiter);
            if !delimiter.ends_with(b"\n") {
                out.push(b'\n');
            }
        }
        out.extend_from_slice(fragment);
    }
    out
}

/// Escapes as in a Python string.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next() {
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('r') => out.push(b'\r'),
            Some('a') => out.push(7),
            Some('b') => out.push(8),
            Some('f') => out.push(12),
            Some('v') => out.push(11),
            Some('x') => {
                let hex: String = chars.clone().take(2).collect();
                match u8::from_str_radix(&hex, 16) {
                    Ok(byte) if hex.len() == 2 => {
                        out.push(byte);
                        chars.nth(1);
                    }
                    _ => out.extend_from_slice(b"\\x"),
                }
            }
            Some(c @ ('\\' | '\'' | '"')) => out.push(c as u8),
            Some(c) => {
                out.push(b'\\');
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            None => out.push(b'\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_never_run_together() {
        let parts = |texts: &[&str]| texts.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>();
        for (texts, delimiter, want) in [
            (&["a\n", "b\n"][..], None, "a\nb\n"),
            (&["a", "b"], None, "a\nb"),
            (&["a\n", "b"], Some("---"), "a\n---\nb"),
            (&["a", "b\n", "c"], Some("#\\n"), "a\n#\nb\n#\nc"),
            (&["a"], Some("---"), "a"),
            (&[], Some("x"), ""),
        ] {
            assert_eq!(String::from_utf8(join(&parts(texts), delimiter)).unwrap(), want);
        }
        assert_eq!(unescape("\\x41\\q\\\\é"), "A\\q\\é".as_bytes());
    }
}
