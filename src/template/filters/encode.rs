//! `b64encode`, `b64decode`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[Filter::new("b64decode", b64decode), Filter::new("b64encode", b64encode)];

/// Text ↔ bytes in the encodings that playbooks use for Windows and for everything else.
fn to_bytes(text: &str, encoding: &str) -> Run<Vec<u8>> {
    match encoding.to_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" | "ascii" => Ok(text.as_bytes().to_vec()),
        "utf-16-le" | "utf-16le" => Ok(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        "utf-16-be" | "utf-16be" => Ok(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        "latin-1" | "iso-8859-1" => text
            .chars()
            .map(|c| u8::try_from(c as u32).map_err(|_| Fault::plain("a character is not in latin-1")))
            .collect(),
        other => Err(unknown(other)),
    }
}

fn from_bytes(bytes: Vec<u8>, encoding: &str) -> Run<String> {
    let pairs = |f: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|p| f([p[0], p[1]])).collect();
        String::from_utf16(&units).map_err(|_| Fault::plain("the decoded bytes are not UTF-16"))
    };
    match encoding.to_lowercase().replace('_', "-").as_str() {
        "utf-8" | "utf8" | "ascii" => {
            String::from_utf8(bytes).map_err(|_| Fault::plain("the decoded bytes are not UTF-8 text"))
        }
        "utf-16-le" | "utf-16le" => pairs(u16::from_le_bytes),
        "utf-16-be" | "utf-16be" => pairs(u16::from_be_bytes),
        "latin-1" | "iso-8859-1" => Ok(bytes.into_iter().map(char::from).collect()),
        other => Err(unknown(other)),
    }
}

fn unknown(encoding: &str) -> Fault {
    Fault::new(format!("unknown encoding: {encoding}"))
        .help("It can be: utf-8, utf-16-le, utf-16-be, latin-1")
}

fn b64encode(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [encoding, urlsafe] = args.bind(["encoding", "urlsafe"])?;
    let bytes = to_bytes(&eval.text_of(&value)?, &eval.text_or(encoding, "utf-8")?)?;
    Ok(Value::text(if eval.flag(urlsafe)? { URL_SAFE.encode(bytes) } else { STANDARD.encode(bytes) }))
}

fn b64decode(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [encoding, urlsafe] = args.bind(["encoding", "urlsafe"])?;
    let text = eval.text_of(&value)?;
    // Python skips what isn't in the alphabet: line ends and spaces, mostly.
    let urlsafe = eval.flag(urlsafe)?;
    let known =
        |c: &char| c.is_ascii_alphanumeric() || *c == '=' || if urlsafe { "-_" } else { "+/" }.contains(*c);
    let clean: String = text.chars().filter(known).collect();
    let engine = if urlsafe { &URL_SAFE } else { &STANDARD };
    let bytes = engine.decode(clean).map_err(|_| Fault::plain("the text is not valid base64"))?;
    Ok(Value::text(from_bytes(bytes, &eval.text_or(encoding, "utf-8")?)?))
}
