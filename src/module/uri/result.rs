//! An answer → the result values of `uri`.

use std::time::Duration;

use crate::module::{Failure, Plan};
use crate::remote::HttpResponse;
use crate::source::{Map, Text, Val};

/// The result, or the failure when the status isn't one of those wanted.
///
/// # Errors
/// Another status, or no answer at all (status -1).
pub fn judge(
    url: &Text,
    wanted: &[u16],
    return_content: bool,
    answer: Result<HttpResponse, String>,
    elapsed: Duration,
) -> Result<Plan, Failure> {
    let mut result = Map::new();
    let (status, msg) = match &answer {
        Err(why) => {
            put(&mut result, "url", Val::Text(url.clone()));
            (-1, format!("Request failed: <urlopen error {why}>"))
        }
        Ok(response) => {
            describe(&mut result, response);
            (i64::from(response.status), message(response))
        }
    };
    let shown_url = result.get("url").cloned().unwrap_or_default();
    put(&mut result, "redirected", Val::Bool(shown_url.as_str() != Some(url.as_str())));
    put(&mut result, "status", Val::Int(status));
    put(&mut result, "elapsed", Val::Int(elapsed.as_secs() as i64));
    put(&mut result, "changed", Val::Bool(false));
    if let Ok(response) = &answer {
        let text = String::from_utf8_lossy(&response.body);
        if is_json(response)
            && let Ok(json) = serde_json::from_str(&text)
        {
            put(&mut result, "json", Val::from_json(&json));
        }
        if return_content {
            put(&mut result, "content", Val::from(text.as_ref()));
        }
    }
    if wanted.iter().any(|w| i64::from(*w) == status) {
        put(&mut result, "msg", msg.into());
        return Ok(Plan { result, ..Plan::ok() });
    }
    let wanted: Vec<String> = wanted.iter().map(u16::to_string).collect();
    let message = format!("Status code was {status} and not [{}]: {msg}", wanted.join(", "));
    Err(Failure { result, ..Failure::new(message) })
}

fn put(map: &mut Map, key: &str, val: Val) {
    map.insert(Val::from(key), val);
}

fn message(response: &HttpResponse) -> String {
    if response.status >= 300 {
        return format!("HTTP Error {}: {}", response.status, response.reason);
    }
    format!("OK ({} bytes)", response.header("content-length").unwrap_or("unknown"))
}

/// Headers, the URL and the cookies.
fn describe(result: &mut Map, response: &HttpResponse) {
    for (name, value) in &response.headers {
        let key = name.replace('-', "_").to_lowercase();
        let value = match result.get(key.as_str()).and_then(Val::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        put(result, &key, value.into());
    }
    let cookies: Vec<(&str, &str)> = response
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .filter_map(|(_, cookie)| cookie.split(';').next()?.trim().split_once('='))
        .collect();
    let written: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let map: Map = cookies.iter().map(|(name, value)| (Val::from(*name), Val::from(*value))).collect();
    put(result, "cookies", map.into());
    put(result, "cookies_string", written.join("; ").into());
    put(result, "url", response.url.as_str().into());
}

/// `application/json`, `text/javascript`, `application/problem+json`.
fn is_json(response: &HttpResponse) -> bool {
    let content_type = response.header("content-type").unwrap_or_default().to_lowercase();
    let sub_type =
        content_type.split(';').next().unwrap_or_default().trim().split_once('/').map_or("", |(_, s)| s);
    let sub_type = sub_type.rsplit_once('+').map_or(sub_type, |(_, suffix)| suffix);
    matches!(sub_type, "json" | "javascript")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> HttpResponse {
        HttpResponse {
            status,
            reason: "Not Found".into(),
            url: "http://h/x".into(),
            headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_wanted_answer() {
        let headers = [
            ("content-type", "application/problem+json; charset=utf-8"),
            ("content-length", "8"),
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "b=2=3"),
            ("x-more-of", "it"),
        ];
        let answer = Ok(response(200, &headers, "{\"k\": 1}"));
        let plan =
            judge(&Text::new("http://h/"), &[200, 201], true, answer, Duration::from_millis(1900)).unwrap();
        for (key, want) in [
            ("status", Val::Int(200)),
            ("msg", Val::from("OK (8 bytes)")),
            ("redirected", Val::Bool(true)),
            ("url", Val::from("http://h/x")),
            ("elapsed", Val::Int(1)),
            ("x_more_of", Val::from("it")),
            ("cookies_string", Val::from("a=1; b=2=3")),
            ("set_cookie", Val::from("a=1; Path=/, b=2=3")),
            ("content", Val::from("{\"k\": 1}")),
        ] {
            assert_eq!(plan.result.get(key), Some(&want), "{key}");
        }
        assert_eq!(plan.result.get("json").and_then(|j| j.get("k")), Some(&Val::Int(1)));
        assert!(plan.steps.is_empty());
    }

    #[test]
    fn unwanted_and_missing_answers() {
        let url = Text::new("http://h/x");
        let failure =
            judge(&url, &[200, 204], false, Ok(response(404, &[], "no")), Duration::ZERO).err().unwrap();
        assert_eq!(failure.message, "Status code was 404 and not [200, 204]: HTTP Error 404: Not Found");
        assert!(failure.result.get("content").is_none());
        let failure = judge(&url, &[200], false, Err("refused".into()), Duration::ZERO).err().unwrap();
        assert_eq!(
            failure.message,
            "Status code was -1 and not [200]: Request failed: <urlopen error refused>"
        );
        assert_eq!(failure.result.get("status"), Some(&Val::Int(-1)));
        let plan = judge(&url, &[404], true, Ok(response(404, &[], "no")), Duration::ZERO).unwrap();
        assert_eq!(plan.result.get("content"), Some(&Val::from("no")));
    }
}
