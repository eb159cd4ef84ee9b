//! The hosts of a play, batch after batch (`serial`).

use std::sync::Mutex;

use crate::engine::event::Event;
use crate::engine::{Ending, Engine, prompts};
use crate::inventory::{HostName, Order as HostOrder};
use crate::module::Failure;
use crate::playbook::{Order, Play};
use crate::run::journal::Sync;
use crate::run::record::Record;
use crate::source::{Diagnostic, Diagnostics, Val};
use crate::vars::{Layer, Layers, Scope};

use super::PlayRun;
use super::variables::{export, render};

pub async fn run(engine: &Engine, play: &Play) -> Ending {
    engine.progress().plays += 1;
    match prepare(engine, play) {
        Ok(None) => Ending::Fine,
        Ok(Some((name, hosts, base))) => {
            if let Err(failure) = engine.locks.take_for(engine, play, &hosts, &base).await {
                return refused(engine, play, failure);
            }
            batches(engine, play, &name, hosts, base).await
        }
        Err(failure) => refused(engine, play, failure),
    }
}

/// Why a play doesn't begin.
fn refused(engine: &Engine, play: &Play, failure: Failure) -> Ending {
    let diagnostic = failure.diagnostic.unwrap_or_else(|| {
        let mut diagnostic = Diagnostic::error("play", failure.message, &play.span);
        diagnostic.help = failure.help;
        Box::new(diagnostic)
    });
    engine.sink.send(Event::Diagnostic(diagnostic));
    Ending::Error
}

/// The play's name, hosts and variables; `None` where no host matches.
fn prepare(engine: &Engine, play: &Play) -> Result<Option<(String, Vec<HostName>, Layers)>, Failure> {
    let mut base = Layers::new();
    base.push(Layer::PlayVars, play.vars.clone());
    for role in &play.roles {
        export(&mut base, role);
    }
    let prompted = prompts::answers(engine, play)?;
    base.push(Layer::PlayPrompts, prompted);
    let scope = engine.variables.scope("localhost", &base);
    let mut patterns = Vec::new();
    for pattern in &play.hosts {
        match render(engine, play, &scope, &Val::Text(pattern.clone()))? {
            Val::List(many) => patterns.extend(many.iter().map(Val::key_text)),
            one => patterns.push(one.key_text()),
        }
    }
    let selection = engine
        .variables
        .inventory()
        .select(&patterns, engine.options.limit.as_ref())
        .map_err(|e| Failure::new(e.to_string()))?;
    for warning in selection.warnings {
        engine.warn(warning);
    }
    let mut hosts = selection.hosts;
    order(play.order).apply(&mut hosts);
    let name = match &play.name {
        Some(name) => {
            render(engine, play, &scope, &Val::Text(name.clone())).map_or(name.to_string(), |v| v.key_text())
        }
        None => patterns.join(","),
    };
    let name = engine.redactor.redact(&name).into_owned();
    if let (Some(log), None) = (&engine.log, &engine.own_undo) {
        log.write(&Record::Play { name: name.clone(), hosts: names(&hosts) }, Sync::Later)?;
    }
    engine.sink.send(Event::PlayStarted { name: name.clone(), hosts: names(&hosts) });
    if hosts.is_empty() {
        engine.sink.send(Event::NoHosts { pattern: patterns.join(",") });
        return Ok(None);
    }
    let sealed = engine.variables.sealed_for(&hosts);
    if sealed.has_errors() {
        return Err(sealed_failure(engine, sealed));
    }
    Ok(Some((name, hosts, base)))
}

fn names(hosts: &[HostName]) -> Vec<String> {
    hosts.iter().map(ToString::to_string).collect()
}

fn sealed_failure(engine: &Engine, sealed: Diagnostics) -> Failure {
    let mut all = sealed.0.into_iter();
    let first = all.next();
    for other in all {
        engine.sink.send(Event::Diagnostic(Box::new(other)));
    }
    let mut failure = Failure::new("variables of these hosts can't be decrypted");
    failure.diagnostic = first.map(Box::new);
    failure
}

fn order(order: Order) -> HostOrder {
    match order {
        Order::Inventory => HostOrder::Inventory,
        Order::ReverseInventory => HostOrder::ReverseInventory,
        Order::Sorted => HostOrder::Sorted,
        Order::ReverseSorted => HostOrder::ReverseSorted,
        Order::Shuffle => HostOrder::Shuffle,
    }
}

async fn batches(engine: &Engine, play: &Play, name: &str, hosts: Vec<HostName>, base: Layers) -> Ending {
    let scope = engine.variables.scope("localhost", &base);
    let sizes = match serial(engine, play, &scope, hosts.len()) {
        Ok(sizes) => sizes,
        Err(failure) => {
            engine.sink.send(Event::Diagnostic(Box::new(Diagnostic::error(
                "serial",
                failure.message,
                &play.span,
            ))));
            return Ending::Error;
        }
    };
    let mut ending = Ending::Fine;
    let mut rest = hosts.as_slice();
    let mut sizes = sizes.into_iter().peekable();
    let mut size = hosts.len();
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        if number > 1 {
            engine.sink.send(Event::PlayStarted { name: name.into(), hosts: names(&hosts) });
        }
        // The last size holds for the rest.
        size = sizes.next().unwrap_or(size).clamp(1, rest.len());
        let (batch, later) = rest.split_at(size);
        rest = later;
        let known = engine.progress().of(batch);
        let gone_before = known.gone();
        let run = PlayRun {
            engine,
            play,
            hosts_all: hosts.clone(),
            batch: batch.to_vec(),
            state: Mutex::new(known),
            handlers: Mutex::new(play.handlers.clone()),
            base: Mutex::new(base.clone()),
            site: format!("{}.{number}", engine.progress().plays),
        };
        run.run_batch().await;
        let state = run.state();
        let gone = state.gone().saturating_sub(gone_before);
        ending = worse(ending, run.ending(&state));
        engine.progress().learn(batch, &state);
        if engine.interrupt.is_raised() {
            return Ending::Interrupted;
        }
        if state.stopped || gone == batch.len() {
            engine.progress().over = true;
            if gone > 0 {
                engine.sink.send(Event::NoMoreHosts);
            }
            if !rest.is_empty() {
                let message = format!("Not begun: {}.", names(rest).join(", "));
                engine.sink.send(Event::Notice { message });
            }
            break;
        }
        if state.play_over {
            break;
        }
    }
    ending
}

pub fn worse(a: Ending, b: Ending) -> Ending {
    let rank = |e: Ending| match e {
        Ending::Fine => 0,
        Ending::Failed => 1,
        Ending::Unreachable => 2,
        Ending::Error => 3,
        Ending::Interrupted => 4,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// Sizes of the batches: numbers, or percentages of all hosts.
fn serial(engine: &Engine, play: &Play, scope: &Scope, count: usize) -> Result<Vec<usize>, Failure> {
    let mut sizes = Vec::new();
    for entry in &play.serial {
        let rendered = render(engine, play, scope, entry)?;
        let entries = match rendered {
            Val::List(many) => many.to_vec(),
            one => vec![one],
        };
        for entry in entries.into_iter().filter(|e| !matches!(e, Val::Null | Val::Omit)) {
            let text = entry.key_text();
            let bad = || Failure::new(format!("serial must be a number or a percentage, got '{text}'"));
            let size = match text.trim().strip_suffix('%') {
                Some(percent) => {
                    let percent: f64 = percent.trim().parse().map_err(|_| bad())?;
                    ((percent / 100.0 * count as f64) as usize).max(1)
                }
                None => text.trim().parse::<usize>().map_err(|_| bad())?,
            };
            sizes.push(if size == 0 { count } else { size });
        }
    }
    Ok(if sizes.is_empty() { vec![count] } else { sizes })
}
