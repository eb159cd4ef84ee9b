//! Who consumes SEQN's secrets: backends that show a project's secret key, and receivers of webhooks.
//! Each reads its secret from its own environment, or from a file that its environment names.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client;
use crate::crypto;
use crate::http::{self, Answer, Reply, Request};
use crate::silver::{PROBE, signature};
use crate::{mounted, required, say};

/// Older or newer events are somebody's who kept one. Seconds.
const TOLERANCE: u64 = 300;

/// The value of a variable, else what is in the file that `KEY_FILE` names; none where it is empty.
fn secret(key: &str) -> Option<String> {
    let value = std::env::var(key).ok().or_else(|| {
        let file = std::env::var(format!("{key}_FILE")).ok()?;
        std::fs::read_to_string(mounted(&file)).ok()
    })?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

pub fn run_backend(name: &str) -> Result<(), String> {
    required("SEQN_API_URL")?;
    http::serve(name, &required("LISTEN")?, |request| {
        Ok(match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/healthz") => Reply::json(200, &json!({"status": "ok"})),
            ("GET", "/application") => match application() {
                Ok(said) => Reply::text_json(200, said),
                Err(code) => Reply::error(502, &code),
            },
            _ => Reply::not_found(),
        })
    })
}

/// For whoever wants to know whether the key of this environment is the right one.
pub fn show_application() -> Result<(), String> {
    say(&application()?)
}

/// What the API says of this backend's project, or the code with which it refuses.
fn application() -> Result<String, String> {
    let key = secret("SEQN_SECRET_KEY").ok_or("no_secret_key")?;
    let url = format!("{}/v1/backend/application", required("SEQN_API_URL")?);
    let authorization = format!("Bearer {key}");
    match client::send("GET", &url, &[("Authorization", &authorization)], "") {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        Ok(answer) => Err(answer.json()["error"].as_str().unwrap_or("unreachable").to_owned()),
        Err(_) => Err("unreachable".to_owned()),
    }
}

#[derive(Default)]
struct Received {
    accepted: u32,
    rejected: u32,
    last: Option<Value>,
}

/// The secrets of a receiver by slot, those that are set.
fn slots() -> Vec<(&'static str, String)> {
    let slots = [("current", "SEQN_WEBHOOK_SECRET"), ("pending", "SEQN_WEBHOOK_SECRET_PENDING")];
    slots.into_iter().filter_map(|(slot, key)| Some((slot, secret(key)?))).collect()
}

pub fn run_receiver(name: &str) -> Result<(), String> {
    let received = Mutex::new(Received::default());
    http::serve(name, &required("LISTEN")?, move |request| {
        let mut received = received.lock().map_err(|_| "a thread died".to_owned())?;
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/healthz") => Ok(Reply::json(200, &json!({"status": "ok"}))),
            ("GET", "/received") => {
                let slots: Vec<&str> = slots().into_iter().map(|(slot, _)| slot).collect();
                Ok(Reply::json(
                    200,
                    &json!({"accepted": received.accepted, "rejected": received.rejected, "slots": slots,
                        "last": received.last}),
                ))
            }
            ("POST", "/webhook") => receive(request, &mut received),
            _ => Ok(Reply::not_found()),
        }
    })
}

fn receive(request: &Request, received: &mut Received) -> Answer {
    let (id, signed) = (request.header("webhook-id"), request.header("webhook-signature"));
    let event: Option<Value> = serde_json::from_str(&request.body).ok();
    let (Ok(timestamp), Some(event), false) =
        (request.header("webhook-timestamp").parse::<u64>(), event, id.is_empty())
    else {
        return Ok(Reply::error(400, "invalid_request"));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let fits = |secret: &str| {
        let own = signature(secret, id, timestamp, &request.body);
        // A sender may sign with several secrets at a time.
        own.is_some_and(|own| signed.split_whitespace().any(|signed| signed == own))
    };
    let slot = slots().into_iter().find(|(_, secret)| fits(secret)).map(|(slot, _)| slot);
    let slot = slot.filter(|_| now.abs_diff(timestamp) <= TOLERANCE && !request.disagree);
    if event["type"] == PROBE {
        return Ok(if slot.is_some() { Reply::empty(204) } else { Reply::error(401, "invalid_signature") });
    }
    match slot {
        Some(slot) => {
            received.accepted += 1;
            received.last =
                Some(json!({"webhook_id": id, "type": event["type"], "slot": slot, "at": timestamp}));
            Ok(Reply::empty(204))
        }
        None => {
            received.rejected += 1;
            Ok(Reply::error(401, "invalid_signature"))
        }
    }
}

/// For whoever wants to know which secrets a receiver has, without being told them.
pub fn show_slots() -> Result<(), String> {
    for (slot, secret) in slots() {
        say(&format!("{slot} {}", &crypto::hash(&secret)[..12]))?;
    }
    Ok(())
}
