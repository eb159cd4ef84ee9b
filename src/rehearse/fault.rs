//! What can happen in the middle of a run, and where: the cases of a rehearsal.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::engine::fault::Point;
use crate::run::record::Intent;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The program dies, as by SIGKILL.
    Kill,
    /// The connection is lost; the next one works.
    Cut,
    /// The connection is lost, and no other one is let in.
    Refused,
    /// No check of health is well any more.
    Unhealthy,
    DiskFull,
    /// Permission denied.
    Denied,
    /// Every exchange with the host takes longer.
    Slow,
}

impl Fault {
    pub const ALL: [Fault; 7] = [
        Fault::Kill,
        Fault::Cut,
        Fault::Refused,
        Fault::Unhealthy,
        Fault::DiskFull,
        Fault::Denied,
        Fault::Slow,
    ];

    /// As `--faults` and the program itself take it.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Cut => "cut",
            Fault::Refused => "refused",
            Fault::Unhealthy => "unhealthy",
            Fault::DiskFull => "disk-full",
            Fault::Denied => "denied",
            Fault::Slow => "slow",
        }
    }

    /// Where around a Step it strikes: at the boundary before its effect, in the middle of it, at
    /// the boundary after it. What only looks has no effect, so all of them are one; but it must be done
    /// again after the program died.
    fn points(self, around: &Boundary) -> &'static [Point] {
        match self {
            Fault::Kill if around.looks => &[Point::During],
            _ if around.looks => &[],
            Fault::Kill => &[Point::AfterIntent, Point::During, Point::AfterEffect],
            Fault::Cut => &[Point::AfterIntent, Point::During],
            Fault::Unhealthy => &[Point::AfterEffect],
            Fault::Refused | Fault::DiskFull | Fault::Denied | Fault::Slow => &[Point::AfterIntent],
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Fault, String> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| {
            let all: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            format!("there is no fault {name:?}; there are {}", all.join(", "))
        })
    }
}

/// How a host does a fault by itself, and how it is well again: an entry of `seqn_faults`. Both are
/// shell commands of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strike {
    pub strike: String,
    pub mend: String,
}

/// What the hosts of a place name.
pub type Strikes = BTreeMap<Fault, Vec<Strike>>;

/// A Step of a run that met no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    pub label: String,
    /// It changes nothing, as its task says.
    pub looks: bool,
}

impl Boundary {
    pub fn of(intent: &Intent) -> Boundary {
        Boundary { label: intent.label.clone(), looks: intent.looks }
    }
}

/// One fault at one point of a run, and what is typed after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub fault: Fault,
    /// From 1, in the order in which a whole run applies them.
    pub step: usize,
    pub label: String,
    pub point: Point,
    /// `resume`, else `rollback`.
    pub forward: bool,
}

impl Case {
    pub fn then(&self) -> &'static str {
        if self.forward { "resume" } else { "rollback" }
    }

    /// As the program takes it.
    pub fn spec(&self, strikes: &Strikes) -> String {
        let what = match strikes.get(&self.fault) {
            None => self.fault.name().to_string(),
            // In parentheses it is never one of the program's own words.
            Some(own) => own.iter().map(|own| format!("({})", own.strike)).collect::<Vec<_>>().join(" && "),
        };
        format!("{}:{}:{what}", self.step, self.point.name())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { fault, step, label, point, .. } = self;
        write!(f, "{} {} {step} `{label}`, then {}", fault.name(), point.name(), self.then())
    }
}

/// Where every fault strikes the last Step too: once it is applied and written down.
const LAST: Point = Point::AfterRecord;

/// Every fault at every boundary of these Steps, each followed by `resume` and by `rollback`.
pub fn cases(faults: &[Fault], steps: &[Boundary]) -> Vec<Case> {
    let mut all = Vec::new();
    for fault in faults {
        for (index, around) in steps.iter().enumerate() {
            // Behind the last one nothing more is written down, and all that is left is to prove it.
            let behind: &[Point] = if index + 1 == steps.len() { &[LAST] } else { &[] };
            for point in fault.points(around).iter().chain(behind) {
                for forward in [true, false] {
                    let (fault, step, label, point) = (*fault, index + 1, around.label.clone(), *point);
                    all.push(Case { fault, step, label, point, forward });
                }
            }
        }
    }
    all
}

/// Numbered from 1, and in an order in which neighbours have nothing in common, always the same one: every
/// part of it is a sample, and what waits shares the machine with what works.
pub fn scattered(cases: Vec<Case>) -> Vec<(usize, Case)> {
    // SplitMix64.
    let mixed = |(n, _): &(usize, Case)| {
        let x = (*n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let mut numbered: Vec<(usize, Case)> = cases.into_iter().enumerate().map(|(n, c)| (n + 1, c)).collect();
    numbered.sort_by_key(mixed);
    numbered
}

/// The cases of shard `of.0` (from 1) of `of.1`.
pub fn shard<T>(cases: Vec<T>, of: Option<(usize, usize)>) -> Vec<T> {
    let Some((number, count)) = of else { return cases };
    cases.into_iter().enumerate().filter(|(n, _)| n % count == number - 1).map(|(_, case)| case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_all_cases_without_a_rest() {
        let steps = ["a", "b", "c"].map(|label| Boundary { label: label.into(), looks: false });
        let all = cases(&Fault::ALL, &steps);
        // 10 points of 7 faults, 3 Steps, 2 ways; and each fault behind the last one.
        assert_eq!(all.len(), 74);
        let behind: Vec<usize> = all.iter().filter(|c| c.point == LAST).map(|c| c.step).collect();
        assert_eq!(behind, [3; 14]);
        let numbered: Vec<(usize, Case)> = (1..).zip(all.clone()).collect();
        let mut shared: Vec<_> = (1..=4).flat_map(|n| shard(scattered(all.clone()), Some((n, 4)))).collect();
        assert!(shared != numbered);
        shared.sort_by_key(|(n, _)| *n);
        assert_eq!(shared, numbered);
        // Each has of both ways, and of most faults.
        for n in 1..=4 {
            let part = shard(scattered(all.clone()), Some((n, 4)));
            assert!([true, false].iter().all(|way| part.iter().any(|(_, case)| case.forward == *way)));
            let faults = Fault::ALL.iter().filter(|fault| part.iter().any(|(_, case)| case.fault == **fault));
            assert!(faults.count() >= 4);
        }
    }

    #[test]
    fn around_what_only_looks_the_program_is_killed() {
        let steps =
            [("look", true), ("write", false)].map(|(label, looks)| Boundary { label: label.into(), looks });
        let all = cases(&Fault::ALL, &steps);
        let looking: Vec<&Case> = all.iter().filter(|case| case.step == 1).collect();
        assert_eq!(looking.len(), 2);
        assert!(looking.iter().all(|case| case.fault == Fault::Kill && case.label == "look"), "{looking:?}");
        assert_eq!(all.len() - looking.len(), 34);
    }

    #[test]
    fn a_place_that_can_do_a_fault_itself_does_it() {
        let (fault, point) = (Fault::DiskFull, Point::AfterIntent);
        let case = Case { fault, step: 2, label: "x".into(), point, forward: true };
        assert_eq!(case.spec(&Strikes::new()), "2:after-intent:disk-full");
        let own = |strike: &str| Strike { strike: strike.into(), mend: "free it".into() };
        let of = |own: Vec<Strike>| case.spec(&Strikes::from([(Fault::DiskFull, own)]));
        assert_eq!(of(vec![own("fill it")]), "2:after-intent:(fill it)");
        assert_eq!(of(vec![own("fill one"), own("fill two")]), "2:after-intent:(fill one) && (fill two)");
        assert!("nope".parse::<Fault>().unwrap_err().contains("disk-full"));
    }
}
