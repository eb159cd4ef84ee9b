//! The little HTTP that the services and their health probe need.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tiny_http::{Header, Method, Response, Server};

/// Far more than a form or a JSON body of ours; less than would hurt.
const BODY_LIMIT: u64 = 64 * 1024;
const WORKERS: usize = 8;

pub struct Request {
    pub method: Method,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.headers.get("cookie")?.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        })
    }

    pub fn form(&self) -> HashMap<String, String> {
        pairs(&self.body)
    }
}

pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub fn json(status: u16, value: &serde_json::Value) -> Reply {
        Reply::new(status, "application/json", value.to_string())
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
        Reply::json(404, &serde_json::json!({"error": "not_found"}))
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn new(status: u16, kind: &str, body: String) -> Reply {
        Reply { status, headers: vec![("Content-Type", kind.to_owned())], body }
    }
}

/// Serves until the process is ended.
pub fn serve<F>(listen: &str, answer: F) -> Result<(), String>
where
    F: Fn(&Request) -> Reply + Send + Sync + 'static,
{
    let server = Server::http(listen).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let server = Arc::new(server);
    let answer = Arc::new(answer);
    crate::log(&format!("listening on {listen}"));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (server, answer) = (Arc::clone(&server), Arc::clone(&answer));
            thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    respond(request, &*answer);
                }
            })
        })
        .collect();
    for worker in workers {
        // A worker that panicked would leave a service that answers less and less.
        worker.join().map_err(|_| "a worker stopped".to_owned())?;
    }
    Ok(())
}

fn respond(mut raw: tiny_http::Request, answer: &dyn Fn(&Request) -> Reply) {
    let mut body = String::new();
    let readable = raw.as_reader().take(BODY_LIMIT).read_to_string(&mut body);
    let reply = if readable.is_err() {
        Reply::json(400, &serde_json::json!({"error": "bad_request"}))
    } else {
        let path = raw.url().split('?').next().unwrap_or_default();
        let headers = raw.headers().iter().map(|header| {
            let name = header.field.as_str().as_str().to_ascii_lowercase();
            (name, header.value.as_str().to_owned())
        });
        answer(&Request {
            method: raw.method().clone(),
            path: path.to_owned(),
            headers: headers.collect(),
            body,
        })
    };
    let mut response = Response::from_string(reply.body).with_status_code(reply.status);
    // A length is easier on simple clients than chunks.
    response = response.with_chunked_threshold(usize::MAX);
    for (name, value) in reply.headers {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    // The client may be gone.
    let _ = raw.respond(response);
}

/// Succeeds when the URL answers with a 2xx within three seconds.
pub fn probe(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or("only http:// is probed")?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let limit = Duration::from_secs(3);
    let try_it = || -> std::io::Result<String> {
        let address =
            authority.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("no such host"))?;
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    };
    let head = try_it().map_err(|error| format!("{url}: {error}"))?;
    match head.split_once(' ') {
        Some((_, status)) if status.starts_with('2') => Ok(()),
        _ => Err(format!("{url}: {head}")),
    }
}

fn pairs(text: &str) -> HashMap<String, String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

/// Undoes `application/x-www-form-urlencoded`; what isn't a valid escape stays as it is.
fn decoded(text: &str) -> String {
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
    fn a_probe_of_nothing_fails() {
        assert!(probe("https://127.0.0.1/").is_err());
        assert!(probe("http://127.0.0.1:1/").is_err());
    }
}
