//! Loops: their items, `ansible_loop`, and the result of the whole.

use crate::module::Failure;
use crate::playbook::{Loop, LoopSource};
use crate::source::{Map, Val};

use super::Engine;
use super::event::{Outcome, Status};
use super::instance::put;

/// Runs the lookup of a `with_NAME`.
pub type RunLookup<'a> = &'a dyn Fn(&str, &[Val]) -> Result<Vec<Val>, Failure>;

/// The items of a loop. `render` renders in the task's Scope, `lookup` runs a lookup there.
///
/// # Errors
/// A `loop:` that isn't a list; whatever rendering reports.
pub fn items(
    engine: &Engine,
    loop_: &Loop,
    render: &dyn Fn(&Val) -> Result<Val, Failure>,
    lookup: RunLookup<'_>,
) -> Result<Vec<Val>, Failure> {
    match &loop_.source {
        LoopSource::Items(items) => match render(items)? {
            Val::List(items) => Ok(items.to_vec()),
            other => Err(Failure::new(format!(
                "Invalid data passed to 'loop', it requires a list, got this instead: {}. Hint: If you passed a \
                 list/dict of just one element, try adding wantlist=True to your lookup invocation or use \
                 q/query instead of lookup.",
                engine.redactor.redact(&other.repr())
            ))),
        },
        LoopSource::Lookup { name, terms } => {
            let terms = match render(terms)? {
                Val::List(terms) => terms.to_vec(),
                one => vec![one],
            };
            lookup(name, &terms)
        }
    }
}

/// `ansible_loop` with `loop_control: extended`.
pub fn extended(items: &[Val], index: usize, all_items: bool) -> Val {
    let count = items.len();
    let mut map = Map::new();
    put(&mut map, "index", Val::Int(index as i64 + 1));
    put(&mut map, "index0", Val::Int(index as i64));
    put(&mut map, "first", index == 0);
    put(&mut map, "last", index + 1 == count);
    put(&mut map, "length", Val::Int(count as i64));
    put(&mut map, "revindex", Val::Int((count - index) as i64));
    put(&mut map, "revindex0", Val::Int((count - index - 1) as i64));
    if all_items {
        put(&mut map, "allitems", Val::list(items.to_vec()));
    }
    if let Some(next) = items.get(index + 1) {
        put(&mut map, "nextitem", next.clone());
    }
    if let Some(previous) = index.checked_sub(1).and_then(|i| items.get(i)) {
        put(&mut map, "previtem", previous.clone());
    }
    Val::map(map)
}

/// The result of the whole loop from those of its items.
pub fn aggregate(outcomes: Vec<Outcome>) -> Outcome {
    let any = |status: Status| outcomes.iter().any(|o| o.status == status);
    let changed = outcomes.iter().any(|o| o.get("changed").and_then(Val::as_bool) == Some(true));
    let status = if any(Status::Unreachable) {
        Status::Unreachable
    } else if any(Status::Failed) {
        Status::Failed
    } else if outcomes.iter().all(|o| o.status == Status::Skipped) {
        Status::Skipped
    } else if changed {
        Status::Changed
    } else {
        Status::Ok
    };
    let mut result = Map::new();
    put(&mut result, "changed", changed);
    let message = match status {
        Status::Failed => "One or more items failed",
        Status::Unreachable => "One or more items were unreachable",
        Status::Skipped => "All items skipped",
        _ => "All items completed",
    };
    put(&mut result, "msg", message);
    if status == Status::Skipped {
        put(&mut result, "skipped", true);
    }
    if status == Status::Failed {
        put(&mut result, "failed", true);
    }
    let mut whole = Outcome::new(status, result);
    for warnings in outcomes.iter().filter_map(|o| o.get("warnings").and_then(Val::as_list)) {
        let all = whole.result.entry("warnings".into()).or_insert_with(|| Val::list(vec![]));
        *all = Val::list(all.as_list().unwrap_or_default().iter().chain(warnings).cloned().collect());
    }
    whole.unknown = outcomes.iter().find_map(|o| o.unknown.clone());
    put(&mut whole.result, "results", Val::list(outcomes.into_iter().map(|o| Val::map(o.result)).collect()));
    whole.result.shift_remove("warnings");
    whole
}
