//! `urlencode`, `urldecode`, `urlsplit`, `urlize`.

use super::Filter;
use super::strings::escape_html;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::regex;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("urldecode", urldecode),
    Filter::new("urlencode", urlencode),
    Filter::new("urlize", urlize),
    Filter::new("urlsplit", urlsplit),
];

fn percent(text: &str, safe: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        let c = char::from(b);
        if b.is_ascii_alphanumeric() || "_.-~".contains(c) || (b.is_ascii() && safe.contains(c)) {
            out.push(c);
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// A text keeps its slashes; pairs become a query.
fn urlencode(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let query = |text: &str| percent(text, "").replace("%20", "+");
    let pairs = match &value {
        Value::Text(s) => return Ok(Value::text(percent(s, "/"))),
        dict if dict.is_dict() => {
            eval.entries(dict)?.into_iter().map(|(k, v)| (eval.value_of(&k), v)).collect()
        }
        list if list.is_sequence() => {
            let mut pairs = Vec::new();
            for pair in eval.iterate(list)? {
                match &eval.iterate(&pair)?[..] {
                    [k, v] => pairs.push((k.clone(), v.clone())),
                    _ => return Err(Fault::plain("urlencode takes text, a dict or a list of pairs")),
                }
            }
            pairs
        }
        other => return Ok(Value::text(percent(&eval.text_of(other)?, "/"))),
    };
    let mut parts = Vec::new();
    for (k, v) in pairs {
        parts.push(format!("{}={}", query(&eval.text_of(&k)?), query(&eval.text_of(&v)?)));
    }
    Ok(Value::text(parts.join("&")))
}

fn urldecode(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let text = eval.text_of(&value)?.replace('+', " ");
    Ok(Value::text(unquote(&text)))
}

fn unquote(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match code {
            Some(b) if bytes[i] == b'%' => {
                out.push(b);
                i += 3;
            }
            _ => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parts of a URL, as Python's `urlsplit` finds them.
pub struct Url<'u> {
    pub scheme: String,
    pub netloc: &'u str,
    pub path: &'u str,
    pub query: &'u str,
    pub fragment: &'u str,
}

pub fn split(url: &str) -> Url<'_> {
    let mut rest = url.trim_matches(|c: char| c <= ' ');
    let mut scheme = String::new();
    if let Some(at) = rest.find(':') {
        let head = &rest[..at];
        let fine = head.starts_with(|c: char| c.is_ascii_alphabetic())
            && head.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if fine {
            scheme = head.to_lowercase();
            rest = &rest[at + 1..];
        }
    }
    let mut netloc = "";
    if let Some(after) = rest.strip_prefix("//") {
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        (netloc, rest) = after.split_at(end);
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Url { scheme, netloc, path, query, fragment }
}

fn urlsplit(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [query] = args.bind(["query"])?;
    let text = eval.text_of(&value)?;
    let url = split(&text);
    let (user, host) = match url.netloc.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, url.netloc),
    };
    let (username, password) = match user.map(|u| u.split_once(':').map_or((u, None), |(n, p)| (n, Some(p))))
    {
        Some((name, password)) => (Some(name), password),
        None => (None, None),
    };
    let (host, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(h, p)| (h, Some(p))),
    };
    let port = match port.filter(|p| !p.is_empty()) {
        Some(p) => Value::from(i64::from(
            p.parse::<u16>()
                .map_err(|_| Fault::new(format!("Port could not be cast to integer value as '{p}'")))?,
        )),
        None => Value::None,
    };
    let hostname = (!host.is_empty()).then(|| host.to_lowercase());
    let parts = [
        ("fragment", Value::text(url.fragment)),
        ("hostname", hostname.into()),
        ("netloc", Value::text(url.netloc)),
        ("password", password.into()),
        ("path", Value::text(url.path)),
        ("port", port),
        ("query", Value::text(url.query)),
        ("scheme", Value::text(url.scheme.clone())),
        ("username", username.into()),
    ];
    let query = eval.text_or(eval.given(query), "")?;
    if query.is_empty() {
        return Ok(Value::record(parts));
    }
    parts
        .into_iter()
        .find(|(name, _)| **name == *query)
        .map(|(_, value)| value)
        .ok_or_else(|| Fault::new(format!("urlsplit: unknown URL component: {query}")))
}

fn urlize(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let text = escape_html(&eval.text_of(&value)?);
    let links = regex::compile(r"(https?://[^\s<>&]+[^\s<>&.,;:!?)])", false, false)?;
    let (out, _) = regex::replace(&links, &text, r#"<a href="\1" rel="noopener">\1</a>"#, 0)?;
    Ok(Value::text(out))
}
