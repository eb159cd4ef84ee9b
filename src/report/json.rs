//! `--output json`: one JSON event a line. The field `event` names it; keys are stable.

use serde_json::{Map, Value, json};

use crate::engine::event::{Event, Outcome, TaskLabel};
use crate::source::Val;

use super::{Reporter, Screen};

pub struct JsonLines;

impl Reporter for JsonLines {
    fn on(&mut self, event: &Event, screen: &Screen) {
        if let Some(value) = line(event, screen) {
            screen.json_line(value);
        }
    }
}

fn line(event: &Event, screen: &Screen) -> Option<Value> {
    let outcome = |outcome: &Outcome, into: &mut Map<String, Value>| {
        into.insert("status".into(), outcome.status.word().into());
        let result = screen.redactor().redact_val(&Val::map(outcome.result.clone()));
        into.insert("result".into(), result.to_json());
        if outcome.recalled {
            into.insert("recalled".into(), json!(true));
        }
        into.insert("seconds".into(), json!(outcome.duration.as_secs_f64()));
        if let Some(cause) = &outcome.unknown {
            into.insert("unknown".into(), json!(cause));
        }
    };
    let task = |task: &TaskLabel| {
        let mut told = json!({"name": task.name, "action": task.action, "at": task.span.to_string(), "handler": task.handler});
        if task.again {
            told["again"] = json!(true);
        }
        told
    };
    let mut fields = Map::new();
    let name = match event {
        Event::RunStarted { playbooks, check, .. } => {
            fields.insert("playbooks".into(), json!(playbooks));
            fields.insert("check".into(), json!(check));
            "run_started"
        }
        Event::PlayStarted { name, hosts } => {
            fields.insert("name".into(), json!(name));
            fields.insert("hosts".into(), json!(hosts));
            "play_started"
        }
        Event::NoHosts { pattern } => {
            fields.insert("pattern".into(), json!(pattern));
            "no_hosts"
        }
        Event::TaskStarted(label) => {
            fields.insert("task".into(), task(label));
            "task_started"
        }
        Event::Included { file, hosts, item } => {
            fields.insert("file".into(), json!(file));
            fields.insert("hosts".into(), json!(hosts));
            fields.insert(
                "item".into(),
                item.as_ref().map_or(Value::Null, |i| screen.redactor().redact_val(i).to_json()),
            );
            "included"
        }
        Event::InstanceStarted { task: label, host } => {
            fields.insert("task".into(), task(label));
            fields.insert("host".into(), json!(host));
            "instance_started"
        }
        Event::ItemDone { task: label, host, delegate, label: item, outcome: done, ignored } => {
            fields.insert("task".into(), task(label));
            fields.insert("host".into(), json!(host));
            fields.insert("delegate".into(), json!(delegate));
            fields.insert("item".into(), screen.redactor().redact_val(item).to_json());
            fields.insert("ignored".into(), json!(ignored));
            outcome(done, &mut fields);
            "item_done"
        }
        Event::Retrying { task: label, host, left, outcome: done } => {
            fields.insert("task".into(), task(label));
            fields.insert("host".into(), json!(host));
            fields.insert("left".into(), json!(left));
            outcome(done, &mut fields);
            "retrying"
        }
        Event::InstanceDone { task: label, host, delegate, outcome: done, ignored, looped } => {
            fields.insert("task".into(), task(label));
            fields.insert("host".into(), json!(host));
            fields.insert("delegate".into(), json!(delegate));
            fields.insert("ignored".into(), json!(ignored));
            if *looped {
                fields.insert("looped".into(), json!(true));
            }
            outcome(done, &mut fields);
            "instance_done"
        }
        Event::Undone { host, label, error } => {
            fields.insert("host".into(), json!(host));
            fields.insert("step".into(), json!(label));
            fields.insert("error".into(), json!(error));
            "undone"
        }
        Event::Notice { message } => {
            fields.insert("message".into(), json!(message));
            "notice"
        }
        Event::Meta { message } => {
            fields.insert("message".into(), json!(message));
            "meta"
        }
        Event::Warning { message } | Event::Deprecated { message } => {
            fields.insert("message".into(), json!(message));
            "warning"
        }
        Event::Diagnostic(d) => {
            fields.insert("code".into(), json!(d.code));
            fields.insert("message".into(), json!(d.message));
            fields.insert("at".into(), json!(d.span.as_ref().map(ToString::to_string)));
            fields.insert("help".into(), json!(d.help));
            "diagnostic"
        }
        Event::NoMoreHosts => "no_more_hosts",
        Event::Interrupted => "interrupted",
        Event::Stopped => "stopped",
        Event::Traffic { host, traffic } => {
            fields.insert("host".into(), json!(host));
            fields.insert("round_trips".into(), json!(traffic.round_trips));
            fields.insert("sent".into(), json!(traffic.sent));
            fields.insert("received".into(), json!(traffic.received));
            "traffic"
        }
        Event::Recap(stats) => {
            fields.insert("hosts".into(), json!(stats));
            "recap"
        }
        Event::RunEnded { ending } => {
            fields.insert("ending".into(), json!(ending));
            "run_ended"
        }
        Event::Exchange { .. } => return None,
    };
    let mut all = Map::new();
    all.insert("event".into(), json!(name));
    all.append(&mut fields);
    Some(Value::Object(all))
}
