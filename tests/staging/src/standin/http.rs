//! The little HTTP that the services need: one request a connection, so that a fault can cut it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::{Fault, Faults};

/// Far more than a form or a JSON body of ours; less than would hurt.
const BODY_LIMIT: usize = 64 * 1024;
const HEAD_LIMIT: usize = 16 * 1024;
/// A client that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Request {
    /// `GET` also for a HEAD, whose answer goes without its body.
    pub method: String,
    /// Path and query, as it was sent.
    pub target: String,
    pub path: String,
    pub query: HashMap<String, String>,
    /// By name in small letters.
    pub headers: HashMap<String, String>,
    pub body: String,
    /// A fault wants the opposite of the truth told.
    pub disagree: bool,
    is_head: bool,
}

/// The reply, or why the database can't be asked.
pub type Answer = Result<Reply, String>;

impl Request {
    /// The parts of the path: `/a/b/` has three, of which the last is empty.
    pub fn parts(&self) -> Vec<String> {
        self.path.split('/').skip(1).map(|part| decoded(&part.replace('+', "%2B"))).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.header("cookie").split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        })
    }

    /// What follows `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization").split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    pub fn form(&self) -> HashMap<String, String> {
        pairs(&self.body)
    }

    /// The JSON object of the body; an empty body is an empty one.
    pub fn object(&self) -> Option<serde_json::Map<String, Value>> {
        match self.body.trim() {
            "" => Some(serde_json::Map::new()),
            body => match serde_json::from_str(body) {
                Ok(Value::Object(map)) => Some(map),
                _ => None,
            },
        }
    }

    /// How the client calls this server.
    pub fn origin(&self) -> String {
        format!("http://{}", self.header("host"))
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub fn json(status: u16, value: &Value) -> Reply {
        Reply::new(status, "application/json", value.to_string())
    }

    /// What is JSON already.
    pub fn text_json(status: u16, text: String) -> Reply {
        Reply::new(status, "application/json", text)
    }

    pub fn error(status: u16, code: &str) -> Reply {
        Reply::json(status, &json!({"error": code}))
    }

    pub fn error_because(status: u16, code: &str, reason: &str) -> Reply {
        Reply::json(status, &json!({"error": code, "reason": reason}))
    }

    pub fn html(status: u16, body: &str) -> Reply {
        Reply::new(status, "text/html; charset=utf-8", body.to_owned())
    }

    pub fn empty(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: String::new() }
    }

    pub fn redirect(to: &str) -> Reply {
        Reply::empty(302).with("Location", to)
    }

    pub fn not_found() -> Reply {
        Reply::error(404, "not_found")
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// A cookie that scripts don't see; none is there any longer after `seconds`.
    pub fn with_cookie(self, name: &str, value: &str, seconds: Option<u32>) -> Reply {
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        self.with("Set-Cookie", &format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}"))
    }

    fn new(status: u16, kind: &str, body: String) -> Reply {
        Reply { status, headers: vec![("Content-Type", kind.to_owned())], body }
    }

    fn bytes(&self, is_head: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            // A line end would begin another header.
            let value = value.replace(['\r', '\n'], "");
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.status != 204 {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("Connection: close\r\n\r\n");
        if !is_head {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

/// Serves until the process is ended, as `service`, whose faults it heeds.
pub fn serve<F>(service: &str, listen: &str, answer: F) -> Result<(), String>
where
    F: Fn(&Request) -> Answer + Send + Sync + 'static,
{
    let listener =
        TcpListener::bind(listen).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let shared = Arc::new((answer, Faults::of(service)));
    crate::log(&format!("listening on {listen}"));
    for stream in listener.incoming() {
        // One that ended before it was taken.
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(&shared);
        let spawned = thread::Builder::new().spawn(move || {
            let (answer, faults) = &*shared;
            // The client may be gone.
            let _ = converse(stream, answer, faults);
        });
        if let Err(error) = spawned {
            crate::log(&format!("a connection was not served: {error}"));
        }
    }
    Ok(())
}

fn converse(mut stream: TcpStream, answer: &dyn Fn(&Request) -> Answer, faults: &Faults) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(mut request) = read(&mut stream)? else {
        return stream.write_all(&Reply::error(400, "bad_request").bytes(false));
    };
    let fault = match faults.of_request(&request.method, &request.path) {
        Ok(fault) => fault,
        Err(why) => {
            crate::log(&why);
            let reply = Reply::error_because(500, "fault_file_invalid", &why);
            return stream.write_all(&reply.bytes(request.is_head));
        }
    };
    match fault {
        Some(Fault::Refuse) => return stream.shutdown(Shutdown::Both),
        Some(Fault::Slow(time)) => thread::sleep(time),
        Some(Fault::Disagree) => request.disagree = true,
        _ => {}
    }
    let reply = match fault {
        Some(Fault::Status(status)) => Reply::error(status, "fault"),
        _ => answer(&request).unwrap_or_else(|why| {
            crate::log(&format!("{} {}: {why}", request.method, request.path));
            Reply::error(503, "database_unavailable")
        }),
    };
    let bytes = match fault {
        Some(Fault::Drop) => Vec::new(),
        Some(Fault::StatusAfter(status)) => Reply::error(status, "fault").bytes(request.is_head),
        Some(Fault::Half) => {
            let whole = reply.bytes(request.is_head);
            whole[..whole.len().saturating_sub(reply.body.len() / 2 + 1)].to_vec()
        }
        _ => reply.bytes(request.is_head),
    };
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)
}

/// The request; none where it is not HTTP, or too large.
fn read(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let (mut request, head, length) = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..count]);
        match head_of(&bytes) {
            Head::Whole(request, head, length) => break (request, head, length),
            Head::Partial if bytes.len() < HEAD_LIMIT => {}
            _ => return Ok(None),
        }
    };
    if length > BODY_LIMIT {
        return Ok(None);
    }
    if request.header("expect").eq_ignore_ascii_case("100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = bytes.split_off(head);
    body.truncate(length);
    let there = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[there..])?;
    let Ok(body) = String::from_utf8(body) else {
        return Ok(None);
    };
    request.body = body;
    Ok(Some(*request))
}

enum Head {
    /// With the length of the head, and that of the body.
    Whole(Box<Request>, usize, usize),
    Partial,
    Bad,
}

fn head_of(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Bad,
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Head::Bad;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Box::new(Request {
        method: if method == "HEAD" { "GET" } else { method }.to_owned(),
        target: target.to_owned(),
        path: path.to_owned(),
        query: pairs(query),
        is_head: method == "HEAD",
        ..Request::default()
    });
    for header in parsed.headers {
        let value = String::from_utf8_lossy(header.value).into_owned();
        request.headers.insert(header.name.to_ascii_lowercase(), value);
    }
    // None of our clients sends a body in chunks.
    if !request.header("transfer-encoding").is_empty() {
        return Head::Bad;
    }
    match request.headers.get("content-length").map(|length| length.trim().parse()) {
        None => Head::Whole(request, head, 0),
        Some(Ok(length)) => Head::Whole(request, head, length),
        Some(Err(_)) => Head::Bad,
    }
}

pub fn pairs(text: &str) -> HashMap<String, String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

/// Undoes `application/x-www-form-urlencoded`; what isn't a valid escape stays as it is.
pub fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// For a part of a URL or a form.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::new(), |mut out, byte| {
        match plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

pub fn encoded_pairs(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
    pairs.join("&")
}

/// For text between tags and within a quoted attribute.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let form = pairs("user=a%40b.c&password=x+y%2B%zz&empty=&odd");
        assert_eq!(form["user"], "a@b.c");
        assert_eq!(form["password"], "x y+%zz");
        assert_eq!(form["empty"], "");
        assert_eq!(form.len(), 3);
    }

    #[test]
    fn what_is_encoded_is_decoded_to_the_same() {
        let text = "a b&c=d+é/?";
        assert_eq!(decoded(&encoded(text)), text);
        assert_eq!(pairs(&encoded_pairs(&[("k=", text)]))["k="], text);
    }

    #[test]
    fn heads_are_whole_partial_or_bad() {
        let text = b"HEAD /a+b/c%2Fd?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab";
        let Head::Whole(request, head, 2) = head_of(text) else { panic!("whole") };
        assert_eq!(&text[head..], b"ab");
        assert_eq!(request.method, "GET");
        assert_eq!(request.parts(), ["a+b", "c/d"]);
        assert_eq!(request.query["x"], "1");
        assert!(matches!(head_of(&text[..20]), Head::Partial));
        assert!(matches!(head_of(b"\0\r\n\r\n"), Head::Bad));
        assert!(matches!(head_of(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), Head::Bad));
        assert!(matches!(head_of(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), Head::Bad));
    }

    #[test]
    fn a_reply_has_a_length_and_no_header_of_a_stranger() {
        let reply = Reply::redirect("/a\r\nX: y");
        let text = String::from_utf8(reply.bytes(false)).unwrap();
        assert!(text.contains("Location: /aX: y\r\n"), "{text}");
        assert!(text.contains("Content-Length: 0\r\n"), "{text}");
    }
}
