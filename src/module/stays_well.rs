//! `stays_well` (ours): do these addresses answer well, without a break, for a stated time?
//!
//! `uri` with `until` ends at the first good answer. A canary is judged by the opposite: the first
//! bad one.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{CheckAnswer, Failure, Module, Plan, PlanCx};
use crate::remote::HttpFailure;
use crate::remote::http::{self, Follow, HttpRequest, Tls};
use crate::source::{Map, Text, Val};

/// Asks some addresses again and again from the host's network, and fails at the first answer that
/// isn't as it must be. Changes nothing, so it is done while planning.
pub struct StaysWell;

/// A page is not read further than this. Bytes.
const MAX_BODY: u64 = 4 << 20;

/// An address, and what it must answer.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What it is called in a failure.
    pub name: String,
    /// `http://…` or `https://…`
    pub url: Text,
    /// Status of the last answer; redirects are followed.
    #[serde(default = "ok")]
    pub status: u16,
}

/// Arguments of `stays_well`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// What is asked, in this order.
    pub checks: Vec<Check>,
    /// For how long all of them must answer well. Seconds; 0 asks each once.
    pub seconds: f64,
    /// Between one round and the next. Seconds.
    #[serde(default = "one")]
    pub interval: f64,
    /// For one answer. Seconds.
    #[serde(default = "ten")]
    pub timeout: f64,
    /// The servers' certificates must be valid.
    #[serde(default = "yes")]
    pub validate_certs: bool,
}

fn ok() -> u16 {
    200
}
fn one() -> f64 {
    1.0
}
fn ten() -> f64 {
    10.0
}
fn yes() -> bool {
    true
}

impl Module for StaysWell {
    type Args = Args;
    const NAME: &'static str = "stays_well";
    const COLLECTION: &'static str = "seqn.play";

    fn validate(args: &Args) -> Result<(), String> {
        if args.checks.is_empty() {
            return Err("checks is empty, so nothing would be known afterwards".into());
        }
        // A day is more than anybody watches; `Duration` takes no more than it can hold.
        let limits = [
            ("seconds", args.seconds, 0.0),
            ("interval", args.interval, 0.05),
            ("timeout", args.timeout, 0.1),
        ];
        match limits.into_iter().find(|(_, given, least)| !(*least..=86_400.0).contains(given)) {
            Some((name, _, least)) => Err(format!("{name} must be between {least} and 86400 seconds")),
            None => Ok(()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        if cx.check {
            let skip = Map::from_iter([(Val::from("msg"), Val::from("nothing is watched in check mode"))]);
            return Ok(Plan { check: CheckAnswer::Skip(skip), ..Plan::ok() });
        }
        let begun = Instant::now();
        let end = begun + Duration::from_secs_f64(args.seconds);
        let (mut rounds, mut slowest) = (0i64, Duration::ZERO);
        loop {
            for check in &args.checks {
                let exchange = http::send(cx.target, &request(check, &args)).await;
                slowest = slowest.max(exchange.duration);
                let status = match exchange.result {
                    Err(HttpFailure::Remote(e)) => return Err(e.into()),
                    Err(HttpFailure::Request(why)) => Err(why),
                    Ok(response) => Ok(response.status),
                };
                if let Some(why) = unwell(check, status) {
                    let after = begun.elapsed().as_secs_f64();
                    return Err(Failure::new(format!(
                        "{} did not stay well: after {after:.1} s {why}",
                        check.name
                    ))
                    .value("elapsed", Val::Float(after))
                    .value("rounds", rounds));
                }
            }
            rounds += 1;
            let now = Instant::now();
            if now >= end {
                break;
            }
            sleep(Duration::from_secs_f64(args.interval).min(end - now)).await;
        }
        Ok(Plan::ok()
            .value("elapsed", Val::Float(begun.elapsed().as_secs_f64()))
            .value("rounds", rounds)
            .value("slowest", Val::Float(slowest.as_secs_f64())))
    }
}

fn unwell(check: &Check, status: Result<u16, String>) -> Option<String> {
    match status {
        Ok(status) if status == check.status => None,
        Ok(status) => Some(format!("it answered {status}, not {}", check.status)),
        Err(why) => Some(format!("it did not answer ({why})")),
    }
}

fn request(check: &Check, args: &Args) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        url: check.url.plain(),
        headers: vec![("User-Agent".into(), Text::new("seqn-play"))],
        body: None,
        follow: Follow::Safe,
        timeout: Duration::from_secs_f64(args.timeout),
        max_body: MAX_BODY,
        tls: Tls { verify: args.validate_certs, authorities: None, identity: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::from_val;

    #[test]
    fn what_is_well() {
        let check = Check { name: "login".into(), url: Text::new("http://h/"), status: 200 };
        assert_eq!(unwell(&check, Ok(200)), None);
        assert_eq!(unwell(&check, Ok(503)).unwrap(), "it answered 503, not 200");
        assert_eq!(unwell(&check, Err("refused".into())).unwrap(), "it did not answer (refused)");
    }

    #[test]
    fn what_can_be_asked_for() {
        let given = |seconds: f64, checks: usize| {
            let check = Val::map(Map::from_iter([
                (Val::from("name"), Val::from("x")),
                (Val::from("url"), Val::from("http://h/")),
            ]));
            let args: Args = from_val(&Val::map(Map::from_iter([
                (Val::from("checks"), Val::list(vec![check; checks])),
                (Val::from("seconds"), Val::Float(seconds)),
            ])))
            .unwrap();
            StaysWell::validate(&args)
        };
        assert_eq!(given(0.0, 1), Ok(()));
        assert!(given(-1.0, 1).unwrap_err().contains("seconds must be between"));
        assert!(given(f64::NAN, 1).is_err());
        assert!(given(1.0, 0).unwrap_err().contains("checks is empty"));
    }
}
