//! `template`: a Jinja file of the operator's machine, rendered to the host.

use super::file_args::with_file_args;
use super::place::{Payload, Placing, place};
use super::{Failure, Module, Plan, PlanCx, host_path};
use crate::module::context::TemplateOptions;
use crate::source::Text;

/// Renders a template to a file of the host.
pub struct Template;

with_file_args! {
    /// Arguments of `template`.
    pub struct Args {
        /// The template, looked for in `templates/`.
        pub src: String,
        /// Where it goes.
        pub dest: String,
        /// Keep the previous file beside the new one.
        #[serde(default)]
        pub backup: bool,
        /// Replace a file with another content.
        #[serde(default = "yes")]
        pub force: bool,
        /// A link at `dest` is looked through.
        #[serde(default)]
        pub follow: bool,
        /// A command that must succeed for the new file, given as `%s`, before it takes its place.
        pub validate: Option<Text>,
        /// `\n`, `\r` or `\r\n`.
        #[serde(default = "newline")]
        pub newline_sequence: String,
        /// Remove the newline after a block.
        #[serde(default = "yes")]
        pub trim_blocks: bool,
        /// Remove blanks before a block.
        #[serde(default)]
        pub lstrip_blocks: bool,
        /// What begins a block.
        pub block_start_string: Option<String>,
        /// What ends a block.
        pub block_end_string: Option<String>,
        /// What begins an expression.
        pub variable_start_string: Option<String>,
        /// What ends an expression.
        pub variable_end_string: Option<String>,
        /// What begins a comment.
        pub comment_start_string: Option<String>,
        /// What ends a comment.
        pub comment_end_string: Option<String>,
        /// `utf-8`, `latin-1` or `ascii`.
        #[serde(default = "utf8")]
        pub output_encoding: String,
    }
}

fn yes() -> bool {
    true
}
fn newline() -> String {
    "\n".into()
}
fn utf8() -> String {
    "utf-8".into()
}

impl Module for Template {
    type Args = Args;
    const NAME: &'static str = "template";

    fn validate(args: &Args) -> Result<(), String> {
        newline_of(&args.newline_sequence)?;
        encode("", &args.output_encoding)?;
        args.file_args().map(drop)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let attributes = args.file_args().map_err(Failure::new)?;
        let path = cx.find("templates", &args.src)?;
        let shown = path.display().to_string();
        let bytes = std::fs::read(&path).map_err(|e| Failure::new(format!("could not read {shown}: {e}")))?;
        let (bytes, encrypted) = cx.services.open_encrypted(&bytes)?;
        let source = String::from_utf8(bytes)
            .map_err(|_| Failure::new("Template source files must be utf-8 encoded"))?;
        let rendered = cx.services.render_file(&source, &path, &options(&args).map_err(Failure::new)?)?;
        let secret = encrypted || rendered.is_secret();
        let bytes = encode(&rendered, &args.output_encoding).map_err(Failure::new)?;
        let payload = Payload::inline(bytes, secret, mode_of(&path));
        let placing = Placing {
            dest: host_path::expand(cx.target, &args.dest).await?,
            basename: Some(host_path::basename(&shown)),
            attributes,
            directory_mode: None,
            force: args.force,
            backup: args.backup,
            validate: args.validate.as_ref(),
            follow: args.follow,
        };
        Ok(place(cx, &placing, &payload).await?.into_plan(&payload).value("src", shown))
    }
}

fn mode_of(path: &std::path::Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}

fn newline_of(given: &str) -> Result<&'static str, String> {
    match given {
        "\n" | "\\n" => Ok("\n"),
        "\r" | "\\r" => Ok("\r"),
        "\r\n" | "\\r\\n" => Ok("\r\n"),
        _ => Err("newline_sequence needs to be one of: \\n, \\r or \\r\\n".into()),
    }
}

fn options(args: &Args) -> Result<TemplateOptions, String> {
    let defaults = TemplateOptions::default();
    let pair = |start: &Option<String>, end: &Option<String>, default: (String, String)| {
        (start.clone().unwrap_or(default.0), end.clone().unwrap_or(default.1))
    };
    Ok(TemplateOptions {
        trim_blocks: args.trim_blocks,
        lstrip_blocks: args.lstrip_blocks,
        keep_trailing_newline: true,
        newline_sequence: newline_of(&args.newline_sequence)?.into(),
        variable: pair(&args.variable_start_string, &args.variable_end_string, defaults.variable),
        block: pair(&args.block_start_string, &args.block_end_string, defaults.block),
        comment: pair(&args.comment_start_string, &args.comment_end_string, defaults.comment),
    })
}

/// The text in another encoding of files.
fn encode(text: &str, encoding: &str) -> Result<Vec<u8>, String> {
    let narrow = |limit: u32| {
        text.chars()
            .map(|c| match u32::from(c) {
                code if code < limit => Ok(code as u8),
                _ => Err(format!("'{c}' cannot be written in output_encoding {encoding}")),
            })
            .collect()
    };
    match encoding.to_lowercase().replace('_', "-").as_str() {
        "" | "utf-8" | "utf8" => Ok(text.as_bytes().to_vec()),
        "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => narrow(0x100),
        "ascii" | "us-ascii" => narrow(0x80),
        _ => Err(format!("output_encoding '{encoding}' is not supported (utf-8, latin-1 and ascii are)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        assert_eq!(encode("é", "iso-8859-1"), Ok(vec![0xe9]));
        assert_eq!(encode("é", "utf-8"), Ok("é".as_bytes().to_vec()));
        assert!(encode("é", "ascii").unwrap_err().contains("'é'"));
        assert!(encode("", "koi8").is_err());
        assert_eq!((newline_of("\\r\\n"), newline_of("x").is_err()), (Ok("\r\n"), true));
    }
}
