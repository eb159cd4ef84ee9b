//! Requests to other services, over plain HTTP.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

/// Less than any health check waits.
const LIMIT: Duration = Duration::from_secs(3);

pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The body, or null where it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// A `Host` among the headers takes the place of the URL's.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, String> {
    let (authority, path) = parts(url)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    let own_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
    if !own_host {
        head.push_str(&format!("Host: {authority}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !matches!(method, "GET" | "DELETE") || !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let exchange = || -> std::io::Result<Vec<u8>> {
        let routed = routed(authority);
        let address =
            routed.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("no such host"))?;
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = exchange().map_err(|error| format!("{authority}: {error}"))?;
    answer(&bytes).ok_or_else(|| format!("{authority}: the answer is cut or no HTTP"))
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).ok()? else {
        return None;
    };
    let status = parsed.code?;
    let body = bytes.get(head..)?;
    let length = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    if let Some(length) = length {
        let length: usize = std::str::from_utf8(length.value).ok()?.trim().parse().ok()?;
        if body.len() != length {
            return None;
        }
    }
    Some(Answer { status, body: String::from_utf8(body.to_vec()).ok()? })
}

/// Authority and path of an http URL.
fn parts(url: &str) -> Result<(&str, &str), String> {
    let rest = url.strip_prefix("http://").ok_or("only http:// is spoken here")?;
    Ok(match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    })
}

pub fn authority(url: &str) -> Result<&str, String> {
    parts(url).map(|(authority, _)| authority)
}

/// Succeeds when the URL answers with a 2xx.
pub fn probe(url: &str) -> Result<(), String> {
    match send("GET", url, &[], "")?.status {
        200..=299 => Ok(()),
        status => Err(format!("{url}: {status}")),
    }
}

/// Where services run without a network of their own, `SEQN_STANDIN_RESOLVE` says what their
/// peers' names mean: `silver-postgres:5432=127.0.0.1:41234`, separated by commas.
pub fn routed(authority: &str) -> String {
    let routes = std::env::var("SEQN_STANDIN_RESOLVE").unwrap_or_default();
    let routes: HashMap<&str, &str> =
        routes.split(',').filter_map(|route| route.trim().split_once('=')).collect();
    (*routes.get(authority).unwrap_or(&authority)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_of_nothing_fails() {
        assert!(probe("https://127.0.0.1/").is_err());
        assert!(probe("http://127.0.0.1:1/").is_err());
    }

    #[test]
    fn an_answer_that_was_cut_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(answer(whole).unwrap().body, "ab");
        for end in 0..whole.len() {
            assert!(answer(&whole[..end]).is_none());
        }
    }
}
