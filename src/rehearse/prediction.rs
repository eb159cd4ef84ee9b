//! What check mode said, compared with what happened.

use std::collections::HashMap;

use serde_json::Value;

use crate::report::rehearsal::{Foreseen, Prediction};

use super::program::Told;

/// One Outcome: of a task, or of one item of its loop.
#[derive(Debug, Clone)]
pub struct Seen {
    pub task: String,
    pub host: String,
    pub item: Option<String>,
    pub at: String,
    pub status: String,
    /// Neither ok nor changed could be promised; why.
    pub unknown: Option<String>,
    /// Why it was skipped, or failed.
    pub reason: Option<String>,
    /// A second run may change it again.
    pub again: bool,
}

impl Seen {
    pub fn is_changed(&self) -> bool {
        self.status == "changed" && self.unknown.is_none()
    }

    fn place(&self) -> (String, String) {
        (self.at.clone(), self.host.clone())
    }

    fn against(&self, predicted: String, happened: String, cause: Option<String>) -> Foreseen {
        Foreseen {
            task: self.task.clone(),
            host: self.host.clone(),
            item: self.item.clone(),
            at: self.at.clone(),
            predicted,
            happened,
            cause,
        }
    }
}

/// The Outcomes of a run, in its order.
pub fn outcomes(told: &[Told]) -> Vec<Seen> {
    told.iter().filter_map(|told| outcome(&told.event)).collect()
}

fn outcome(event: &Value) -> Option<Seen> {
    let text = |value: &Value| value.as_str().map(String::from);
    let item = match event["event"].as_str()? {
        // Its items were told one by one.
        "instance_done" if event["looped"] == true => return None,
        "instance_done" => None,
        "item_done" => Some(text(&event["item"]).unwrap_or_else(|| event["item"].to_string())),
        _ => return None,
    };
    let result = &event["result"];
    let reason = ["skip_reason", "skipped_reason", "msg"].into_iter().find_map(|key| text(&result[key]));
    Some(Seen {
        task: text(&event["task"]["name"])?,
        host: text(&event["host"])?,
        item,
        at: text(&event["task"]["at"])?,
        status: text(&event["status"])?,
        unknown: text(&event["unknown"]),
        reason,
        again: event["task"]["again"] == true,
    })
}

/// Each Outcome of one run with its like in another: the same task on the same host, with the same
/// item where there is one of it, in the order in which they came.
fn pairs<'s>(one: &'s [Seen], other: &'s [Seen]) -> Vec<(Option<&'s Seen>, Option<&'s Seen>)> {
    let mut left: HashMap<(String, String), Vec<&Seen>> = HashMap::new();
    for seen in other {
        left.entry(seen.place()).or_default().push(seen);
    }
    let mut take = |seen: &Seen, same_item: bool| {
        let of_task = left.get_mut(&seen.place())?;
        let at = of_task.iter().position(|o| !same_item || o.item == seen.item)?;
        Some(of_task.remove(at))
    };
    let mut found: Vec<Option<&Seen>> = one.iter().map(|seen| take(seen, true)).collect();
    for (seen, its) in one.iter().zip(&mut found).filter(|(_, its)| its.is_none()) {
        *its = take(seen, false);
    }
    let mut all: Vec<_> = one.iter().map(Some).zip(found).collect();
    let rest = other.iter().filter(|seen| {
        left.get(&seen.place()).is_some_and(|rest| rest.iter().any(|r| std::ptr::eq(*r, *seen)))
    });
    all.extend(rest.map(|seen| (None, Some(seen))));
    all
}

/// No `ok` and no `changed` that check mode said may be wrong. Whatever it left open is listed with
/// its cause.
pub fn compare(predicted: &[Seen], happened: &[Seen]) -> Prediction {
    let mut result = Prediction::default();
    for (predicted, happened) in pairs(predicted, happened) {
        match (predicted, happened) {
            (Some(p), Some(h)) => both(&mut result, p, h),
            (Some(p), None) if p.is_changed() => {
                let never = "nothing: the run did not come to it";
                result.wrong.push(p.against(p.status.clone(), never.into(), None));
            }
            (None, Some(h)) if h.is_changed() => {
                let cause = Some("check mode did not come to it".into());
                result.unknown.push(h.against("nothing".into(), h.status.clone(), cause));
            }
            (Some(_), None) | (None, _) => {}
        }
    }
    result
}

fn both(result: &mut Prediction, p: &Seen, h: &Seen) {
    let told = |cause| p.against(p.status.clone(), h.status.clone(), cause);
    if let Some(cause) = &p.unknown {
        let cause = Some(cause.clone());
        result.unknown.push(p.against("unknown".into(), h.status.clone(), cause));
        return;
    }
    match (p.status.as_str(), h.status.as_str()) {
        ("ok", "changed") | ("changed", "ok" | "skipped") => result.wrong.push(told(None)),
        ("skipped", "changed") => {
            let why = p.reason.clone().unwrap_or_else(|| "check mode can't run it".into());
            result.unknown.push(told(Some(format!("check mode skips it: {why}"))));
        }
        // A failure of the run is told by its stage.
        (_, "failed" | "unreachable") => {}
        // One of check mode that was ignored promises nothing.
        (failed @ ("failed" | "unreachable"), _) => {
            let why = p.reason.clone().unwrap_or_else(|| failed.into());
            result.unknown.push(told(Some(format!("check mode fails: {why}"))));
        }
        _ => result.right += 1,
    }
}

/// Where check mode says something else than before; only what concerns changes.
pub fn differences(before: &[Seen], now: &[Seen]) -> Vec<String> {
    let changes = |seen: Option<&Seen>| seen.is_some_and(Seen::is_changed);
    let word = |seen: Option<&Seen>| seen.map_or_else(|| "nothing".to_string(), |s| s.status.clone());
    pairs(before, now)
        .into_iter()
        .filter(|(b, n)| changes(*b) != changes(*n))
        .filter_map(|(b, n)| {
            let seen = b.or(n)?;
            let item = seen.item.as_ref().map(|item| format!(" (item={item})")).unwrap_or_default();
            let (b, n) = (word(b), word(n));
            Some(format!(
                "[{}] {}{item} at {}: check mode predicts {n}, before it predicted {b}",
                seen.host, seen.task, seen.at
            ))
        })
        .collect()
}

/// What was changed although it was changed before, and isn't declared to be (`again: ok`).
pub fn changed_again(seen: &[Seen]) -> Vec<String> {
    seen.iter()
        .filter(|s| s.is_changed() && !s.again)
        .map(|s| {
            let item = s.item.as_ref().map(|item| format!(" (item={item})")).unwrap_or_default();
            format!("[{}] {}{item} at {} was changed again", s.host, s.task, s.at)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(task: &str, status: &str, item: Option<&str>) -> Seen {
        let at = format!("play.yml:{task}");
        let event = match item {
            None => json!({"event": "instance_done", "host": "h", "task": {"name": task, "at": at},
                "status": status, "result": {}}),
            Some(item) => json!({"event": "item_done", "host": "h", "task": {"name": task, "at": at},
                "status": status, "result": {}, "item": item}),
        };
        outcome(&event).expect("an outcome")
    }

    fn plain(all: &[(&str, &str)]) -> Vec<Seen> {
        all.iter().map(|(task, status)| seen(task, status, None)).collect()
    }

    #[test]
    fn a_promise_is_right_or_wrong() {
        for (predicted, happened, right, wrong, unknown) in [
            ("ok", "ok", 1, 0, 0),
            ("changed", "changed", 1, 0, 0),
            ("ok", "changed", 0, 1, 0),
            ("changed", "ok", 0, 1, 0),
            ("changed", "skipped", 0, 1, 0),
            ("ok", "skipped", 1, 0, 0),
            ("skipped", "ok", 1, 0, 0),
            ("skipped", "changed", 0, 0, 1),
            ("ok", "failed", 0, 0, 0),
            ("failed", "changed", 0, 0, 1),
            ("failed", "ok", 0, 0, 1),
            ("failed", "failed", 0, 0, 0),
        ] {
            let got = compare(&plain(&[("a", predicted)]), &plain(&[("a", happened)]));
            let counts = (got.right, got.wrong.len(), got.unknown.len());
            assert_eq!(counts, (right, wrong, unknown), "{predicted} {happened}");
        }
    }

    #[test]
    fn what_one_of_them_never_came_to() {
        let got = compare(&plain(&[("a", "changed"), ("b", "ok")]), &plain(&[("c", "changed"), ("d", "ok")]));
        assert_eq!((got.right, got.wrong.len(), got.unknown.len()), (0, 1, 1));
        assert!(got.wrong[0].happened.contains("did not come to it"), "{got:?}");
        assert_eq!(got.unknown[0].task, "c");
    }

    #[test]
    fn items_are_matched_by_what_they_are_and_then_by_order() {
        let item = |name, status| seen("a", status, Some(name));
        let got = compare(
            &[item("x", "changed"), item("y", "ok"), item("file-1", "changed")],
            &[item("y", "ok"), item("x", "changed"), item("file-2", "changed")],
        );
        assert_eq!((got.right, got.wrong.len()), (3, 0), "{got:?}");
        let got = compare(&[item("x", "changed"), item("y", "ok")], &[item("x", "ok"), item("y", "changed")]);
        assert_eq!(got.wrong.len(), 2);
    }

    #[test]
    fn a_state_is_the_first_one_if_the_same_would_change() {
        let first = plain(&[("a", "changed"), ("b", "ok")]);
        assert!(differences(&first, &plain(&[("a", "changed"), ("b", "skipped")])).is_empty());
        let now = differences(&first, &plain(&[("a", "ok"), ("b", "changed")]));
        assert_eq!(now.len(), 2, "{now:?}");
        assert!(now[0].contains("predicts ok, before it predicted changed"), "{now:?}");
    }
}
