//! `body` in its `body_format`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;

use super::{Args, BodyFormat};
use crate::module::text_edit::MAX_SIZE;
use crate::module::{Failure, PlanCx};
use crate::remote::http::Body;
use crate::source::args::scalar_text;
use crate::source::{Text, Val};

type Encoded = Option<(Option<String>, Body)>;

/// The content type and the bytes; `None`: no body.
///
/// # Errors
/// The body has no such form.
pub fn encode(args: &Args, cx: &PlanCx<'_>) -> Result<Encoded, Failure> {
    let typed = |content_type: &str, body: Text| Ok(Some((Some(content_type.to_string()), Body::Text(body))));
    match (args.body_format, &args.body) {
        (BodyFormat::Multipart, Some(Val::Map(fields))) => {
            let read = |name: &str| -> Result<Vec<u8>, Failure> {
                let path = cx.find("files", name)?;
                let failed =
                    |e: std::io::Error| Failure::new(format!("could not read {}: {e}", path.display()));
                if std::fs::metadata(&path).map_err(failed)?.len() > MAX_SIZE {
                    return Err(Failure::new(format!("{} is larger than {MAX_SIZE} bytes", path.display())));
                }
                std::fs::read(&path).map_err(failed)
            };
            let boundary = format!("==============={:019}==", rand::rng().random::<u64>() >> 1);
            let body = multipart(fields, &boundary, &read)?;
            Ok(Some((
                Some(format!("multipart/form-data; boundary=\"{boundary}\"")),
                Body::Bytes(Arc::from(body)),
            )))
        }
        (BodyFormat::Multipart, other) => Err(Failure::new(format!(
            "body must be mapping, cannot be type {}",
            other.as_ref().map_or("NoneType", Val::type_name)
        ))),
        (_, None) => Ok(None),
        (BodyFormat::Json, Some(Val::Text(text))) => typed("application/json", text.plain()),
        (BodyFormat::Json, Some(body)) => typed("application/json", marked(body.to_json().to_string(), body)),
        (BodyFormat::Form, Some(Val::Text(text))) => typed("application/x-www-form-urlencoded", text.plain()),
        (BodyFormat::Form, Some(body)) => {
            let text = form(body).map_err(|e| {
                Failure::new(format!("failed to parse body as form_urlencoded: {e}")).value("elapsed", 0)
            })?;
            typed("application/x-www-form-urlencoded", marked(text, body))
        }
        (BodyFormat::Raw, Some(body)) => match scalar_text(body) {
            Some(text) => Ok(Some((None, Body::Text(text.plain())))),
            None => Err(Failure::new(format!("a body of type {} needs a body_format", body.type_name()))),
        },
    }
}

fn marked(text: String, from: &Val) -> Text {
    if from.has_secret() { Text::secret(text) } else { Text::new(text) }
}

/// A map, or a list of pairs, as `a=1&a=2`; what is null is left out.
fn form(body: &Val) -> Result<String, String> {
    let pairs: Vec<(Val, Val)> = match body {
        Val::Map(map) => map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        Val::List(list) => list
            .iter()
            .map(|pair| match pair.as_list() {
                Some([key, value]) => Ok((key.clone(), value.clone())),
                _ => Err("a list must hold pairs".to_string()),
            })
            .collect::<Result<_, _>>()?,
        other => return Err(format!("cannot form-urlencode {}", other.type_name())),
    };
    let mut parts = Vec::new();
    for (key, values) in pairs {
        let values = values.as_list().map_or_else(|| vec![values.clone()], <[Val]>::to_vec);
        for value in values.iter().filter(|v| !matches!(v, Val::Null | Val::Omit)) {
            let text = scalar_text(value).map_or_else(|| value.to_json().to_string(), |t| t.to_string());
            parts.push(format!("{}={}", quote_plus(&key.key_text()), quote_plus(&text)));
        }
    }
    Ok(parts.join("&"))
}

/// As Python's `quote_plus`.
fn quote_plus(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b' ' => "+".to_string(),
            b if b.is_ascii_alphanumeric() || b"_.-~".contains(&b) => (b as char).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

fn multipart(
    fields: &crate::source::Map,
    boundary: &str,
    read: &dyn Fn(&str) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<u8>, Failure> {
    let mut fields: Vec<(String, &Val)> = fields.iter().map(|(k, v)| (k.key_text(), v)).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = Vec::new();
    for (name, value) in fields {
        let text = |key: &str| value.get(key).and_then(scalar_text).filter(|t| !t.is_empty());
        let (content, filename, mime) = match value {
            Val::Text(text) => (Some(text.clone()), None, Text::new("text/plain")),
            Val::Map(_) => {
                let (content, filename) = (text("content"), text("filename"));
                let mime = text("mime_type");
                let mime = mime.unwrap_or_else(|| Text::new(guess(filename.as_deref().unwrap_or_default())));
                (content, filename, mime)
            }
            other => {
                let message =
                    format!("value must be a string, or mapping, cannot be type {}", other.type_name());
                return Err(Failure::new(format!("failed to parse body as form-multipart: {message}")));
            }
        };
        let (encoding, bytes) = match (&content, &filename) {
            (Some(content), _) => ("", content.as_bytes().to_vec()),
            (None, Some(filename)) => {
                let coded = STANDARD.encode(read(filename)?);
                let lines: Vec<&[u8]> = coded.as_bytes().chunks(76).collect();
                ("Content-Transfer-Encoding: base64\r\n", lines.join(&b"\r\n"[..]))
            }
            (None, None) => {
                let message = "at least one of filename or content must be provided";
                return Err(Failure::new(format!("failed to parse body as form-multipart: {message}")));
            }
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\r', '\n'], " ");
        let shown = filename.as_deref().map(|f| crate::module::host_path::basename(f).to_string());
        let filename = shown.map_or_else(String::new, |f| format!("; filename=\"{}\"", quoted(&f)));
        out.extend_from_slice(
            format!(
                "--{boundary}\r\n{encoding}Content-Type: {}\r\nContent-Disposition: form-data; name=\"{}\"{filename}\r\n\r\n",
                mime.replace(['\r', '\n'], " "),
                quoted(&name),
            )
            .as_bytes(),
        );
        out.extend_from_slice(&bytes);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(out)
}

/// The usual types by the end of a name.
fn guess(filename: &str) -> &'static str {
    match filename.rsplit_once('.').map(|(_, end)| end.to_lowercase()).as_deref() {
        Some("txt" | "log" | "conf") => "text/plain",
        Some("html" | "htm") => "text/html",
        Some("css") => "text/css",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("xml") => "text/xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args;

    #[test]
    fn forms() {
        let body = args::args([("a", Val::from("x y&")), ("b", Val::from(vec![1i64, 2])), ("c", Val::Null)]);
        assert_eq!(form(&body).unwrap(), "a=x+y%26&b=1&b=2");
        let pairs = Val::list(vec![Val::from(vec!["k", "é"])]);
        assert_eq!(form(&pairs).unwrap(), "k=%C3%A9");
        assert!(form(&Val::list(vec![Val::from("x")])).is_err());
    }

    #[test]
    fn multipart_bodies() {
        let file = args::args([("filename", Val::from("d/a.txt"))]);
        let fields = args::args([("z", Val::from("text")), ("f", file)]);
        let body = multipart(fields.as_map().unwrap(), "B", &|_| Ok(b"hi".to_vec())).unwrap();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "--B\r\nContent-Transfer-Encoding: base64\r\nContent-Type: text/plain\r\n\
             Content-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\naGk=\r\n\
             --B\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"z\"\r\n\r\ntext\r\n--B--\r\n"
        );
    }
}
