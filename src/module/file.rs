//! `file`: files, folders, links, and their attributes.

use std::sync::Arc;

use chrono::NaiveDateTime;
use serde::Deserialize;

use super::file_args::{FileArgs, Mode, final_path_info, path_info, state_name, with_file_args};
use super::{Failure, Module, Plan, PlanCx, Step, host_path};
use crate::remote::{Attributes, Command, Effect, FileKind, Stat};
use crate::source::Val;

/// Makes files, folders and links, removes them, and sets their attributes.
pub struct File;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Absent,
    Directory,
    File,
    Hard,
    Link,
    Touch,
}

with_file_args! {
    /// Arguments of `file`.
    pub struct Args {
        /// What is looked after.
        #[serde(alias = "dest", alias = "name")]
        pub path: String,
        /// What shall be there; by default what is there, else a file (a folder with `recurse`).
        pub state: Option<State>,
        /// What a link says (`link`), or the file that gets another name (`hard`).
        pub src: Option<String>,
        /// Attributes of everything below a folder too.
        #[serde(default)]
        pub recurse: bool,
        /// Links to what isn't there, and links in place of files and empty folders.
        #[serde(default)]
        pub force: bool,
        /// Look through a symbolic link at `path`.
        #[serde(default = "yes")]
        pub follow: bool,
        /// `preserve`, `now` or a time in `modification_time_format`.
        pub modification_time: Option<String>,
        /// As Python's strptime; the host's local time.
        #[serde(default = "time_format")]
        pub modification_time_format: String,
        /// `preserve`, `now` or a time in `access_time_format`.
        pub access_time: Option<String>,
        /// As Python's strptime; the host's local time.
        #[serde(default = "time_format")]
        pub access_time_format: String,
    }
}

fn yes() -> bool {
    true
}
fn time_format() -> String {
    "%Y%m%d%H%M.%S".into()
}

impl Module for File {
    type Args = Args;
    const NAME: &'static str = "file";

    fn validate(args: &Args) -> Result<(), String> {
        if matches!(args.state, Some(s) if s != State::Directory) && args.recurse {
            return Err("recurse option requires state to be 'directory'".into());
        }
        if args.src.is_some() && !matches!(args.state, Some(State::Link | State::Hard)) {
            return Err("src option requires state to be 'link' or 'hard'".into());
        }
        match args.file_args()?.mode {
            Some(Mode::Preserve) => Err("mode must be in octal or symbolic form, got 'preserve'".into()),
            _ => Ok(()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let attributes = args.file_args().map_err(Failure::new)?;
        let mut path = host_path::expand(cx.target, &args.path).await?;
        if path.len() > 1 {
            path.truncate(path.trim_end_matches('/').len().max(1));
        }
        let src = host_path::expand_opt(cx.target, args.src.as_deref()).await?;
        let mut now = cx.target.stat_with(&path, false, None).await?;
        if args.state == Some(State::Hard)
            && let Some(src) = &src
            && looks_into_directory(cx, &path, now.as_deref()).await?
        {
            path = host_path::join(&path, host_path::basename(src));
            now = cx.target.stat_with(&path, false, None).await?;
        }
        let state = args.state.unwrap_or(match now.as_deref().map(state_name) {
            Some("link") => State::Link,
            Some("directory") => State::Directory,
            Some("hard") => State::Hard,
            None if args.recurse => State::Directory,
            _ => State::File,
        });
        if args.recurse && state != State::Directory {
            return Err(Failure::new("recurse option requires state to be 'directory'").value("path", path));
        }
        let times = Times::of(&args, state, cx).await?;
        let task = Task { args: &args, attributes, path, src, now, times, cx };
        match state {
            State::Absent => Ok(task.absent()),
            State::Touch => task.touch().await,
            State::File => task.file().await,
            State::Directory => task.directory().await,
            State::Link => task.link().await,
            State::Hard => task.hard().await,
        }
    }
}

async fn looks_into_directory(cx: &PlanCx<'_>, path: &str, now: Option<&Stat>) -> Result<bool, Failure> {
    Ok(match now.map(|s| s.kind) {
        Some(FileKind::Directory) => true,
        Some(FileKind::Link) => cx.target.stat(path).await?.is_some_and(|s| s.kind == FileKind::Directory),
        _ => false,
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Time {
    Preserve,
    Now,
    At(f64),
}

#[derive(Debug, Clone, Copy)]
struct Times {
    modification: Time,
    access: Time,
}

impl Times {
    async fn of(args: &Args, state: State, cx: &PlanCx<'_>) -> Result<Times, Failure> {
        let default = if state == State::Touch { Time::Now } else { Time::Preserve };
        let mut offset = None;
        let mut parsed = [default, default];
        let given = [
            (&args.modification_time, &args.modification_time_format),
            (&args.access_time, &args.access_time_format),
        ];
        for (slot, (text, format)) in parsed.iter_mut().zip(given) {
            *slot = match text.as_deref() {
                None => default,
                Some("preserve") => Time::Preserve,
                Some("now") => Time::Now,
                Some(text) => {
                    if offset.is_none() {
                        let said = cx.target.query(Command::shell("date +%z")).await?;
                        offset = Some(offset_seconds(said.stdout_text().trim()));
                    }
                    Time::At(local_time(text, format).map_err(Failure::new)? - offset.unwrap_or_default())
                }
            };
        }
        Ok(Times { modification: parsed[0], access: parsed[1] })
    }

    /// What has to be set on what is there now; `None`: nothing.
    fn differing(&self, now: &Stat) -> Option<Attributes> {
        let wanted = |time: Time, is: f64| match time {
            Time::Preserve => None,
            // Answers "it differs"; the host's own clock says what is set.
            Time::Now => Some(f64::INFINITY),
            Time::At(at) => (at != is).then_some(at),
        };
        let (mtime, atime) = (wanted(self.modification, now.mtime), wanted(self.access, now.atime));
        (mtime.is_some() || atime.is_some()).then(|| Attributes { mtime, atime, ..Attributes::default() })
    }

    fn is_now(&self) -> bool {
        self.modification == Time::Now || self.access == Time::Now
    }
}

/// `+0130` in seconds.
fn offset_seconds(text: &str) -> f64 {
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let digits = text.trim_start_matches(['+', '-']);
    let part = |from, to| digits.get(from..to).and_then(|d| d.parse::<f64>().ok()).unwrap_or(0.0);
    sign * (part(0, 2) * 3600.0 + part(2, 4) * 60.0)
}

fn local_time(text: &str, format: &str) -> Result<f64, String> {
    NaiveDateTime::parse_from_str(text, format)
        .or_else(|_| chrono::NaiveDate::parse_from_str(text, format).map(|d| d.into()))
        .map(|time| time.and_utc().timestamp() as f64)
        .map_err(|e| format!("Error while obtaining timestamp for time {text} using format {format}: {e}"))
}

struct Task<'a, 'c> {
    args: &'a Args,
    attributes: FileArgs,
    path: String,
    src: Option<String>,
    /// What is at `path` itself.
    now: Option<Arc<Stat>>,
    times: Times,
    cx: &'a PlanCx<'c>,
}

impl Task<'_, '_> {
    fn failure(&self, message: impl Into<String>) -> Failure {
        Failure::new(message).value("path", self.path.as_str())
    }

    /// The result values of what is there, and after the Steps of what is there then.
    fn done(&self, plan: Plan, key: &str, now: Option<&Stat>) -> Plan {
        let mut plan = plan.value(key, self.path.as_str());
        if let Some(now) = now {
            plan.result.extend(path_info(now));
        }
        if plan.steps.is_empty() {
            return plan;
        }
        plan.finish(|outputs| Ok(Plan { result: final_path_info(outputs), ..Plan::ok() }))
    }

    /// The Step that brings attributes and times of `path` to what is wanted, if they aren't.
    fn attribute_step(&self, path: &str, now: &Stat, follow: bool) -> Option<Step> {
        let mut differing = self.attributes.differing(now);
        if let Some(times) = self.times.differing(now) {
            let all = differing.get_or_insert_default();
            if self.times.is_now() {
                // Touch sets to its own now what it isn't told.
                let kept = |time: Time, is: f64| match time {
                    Time::Now => None,
                    Time::Preserve => Some(is),
                    Time::At(at) => Some(at),
                };
                all.mtime = kept(self.times.modification, now.mtime);
                all.atime = kept(self.times.access, now.atime);
                let effect = Effect::Touch { path: path.into(), attributes: all.clone() };
                return Some(Step::file(format!("touch {path}"), effect));
            }
            (all.mtime, all.atime) = (times.mtime, times.atime);
        }
        let effect = Effect::Attributes { path: path.into(), attributes: differing?, recurse: false, follow };
        Some(Step::file(format!("set attributes of {path}"), effect))
    }

    /// What a link at `path` leads to, where it is to be looked through.
    async fn followed(&mut self) -> Result<(), Failure> {
        if self.args.follow && self.now.as_deref().is_some_and(|s| s.kind == FileKind::Link) {
            let target = self.cx.target.stat(&self.path).await?;
            self.path = host_path::real(&self.path, self.now.as_deref());
            self.now = target;
        }
        Ok(())
    }

    fn absent(self) -> Plan {
        let plan = Plan::ok().value("path", self.path.as_str()).value("state", "absent");
        match self.now {
            None => plan,
            Some(_) => {
                let effect = Effect::Remove { path: self.path.clone(), recurse: true };
                plan.step(Step::file(format!("remove {}", self.path), effect))
            }
        }
    }

    async fn touch(mut self) -> Result<Plan, Failure> {
        let shown = self.path.clone();
        self.followed().await?;
        let plan = match self.now.clone() {
            None => {
                let mut attributes = self.attributes.wanted(None);
                let at = |time| if let Time::At(at) = time { Some(at) } else { None };
                (attributes.mtime, attributes.atime) = (at(self.times.modification), at(self.times.access));
                let effect = Effect::Touch { path: self.path.clone(), attributes };
                Plan::ok().step(Step::file(format!("make {}", self.path), effect))
            }
            Some(now) => self.attribute_step(&self.path, &now, true).into_iter().fold(Plan::ok(), Plan::step),
        };
        let now = self.now.take();
        self.path = shown;
        Ok(self.done(plan, "dest", now.as_deref()))
    }

    async fn file(mut self) -> Result<Plan, Failure> {
        self.followed().await?;
        let state = self.now.as_deref().map_or("absent", state_name);
        let now = match self.now.clone() {
            Some(now) if matches!(state, "file" | "hard") => now,
            _ => {
                return Err(self
                    .failure(format!("file ({}) is {state}, cannot continue", self.path))
                    .value("state", state)
                    .help("state: touch makes an empty file; copy and template make full ones"));
            }
        };
        let plan = self.attribute_step(&self.path, &now, true).into_iter().fold(Plan::ok(), Plan::step);
        Ok(self.done(plan, "path", Some(&now)))
    }

    async fn directory(mut self) -> Result<Plan, Failure> {
        self.followed().await?;
        let Some(now) = self.now.clone() else {
            let effect =
                Effect::Directory { path: self.path.clone(), attributes: self.attributes.wanted(None) };
            let plan = Plan::ok().step(Step::file(format!("make directory {}", self.path), effect));
            return Ok(self.done(plan, "path", None));
        };
        if now.kind != FileKind::Directory {
            return Err(self.failure(format!("{} already exists as a {}", self.path, state_name(&now))));
        }
        let mut plan = Plan::ok();
        if self.args.recurse && self.differs_below().await? {
            // Symbolic modes mean something else for every file: `X` and copied bits.
            let mode = self.attributes.mode.as_ref().map(|mode| match mode {
                Mode::Symbolic(text) => text.clone(),
                mode => super::file_args::octal(mode.bits(now.mode, true)),
            });
            let attributes = Attributes { mode, ..self.attributes.wanted(Some(&now)) };
            let effect =
                Effect::Attributes { path: self.path.clone(), attributes, recurse: true, follow: false };
            plan = plan.step(Step::file(format!("set attributes below {}", self.path), effect));
        }
        plan = self.attribute_step(&self.path, &now, true).into_iter().fold(plan, Plan::step);
        Ok(self.done(plan, "path", Some(&now)))
    }

    async fn differs_below(&self) -> Result<bool, Failure> {
        if self.attributes == FileArgs::default() {
            return Ok(false);
        }
        let below = self.cx.target.list(&self.path, true).await?;
        Ok(below.iter().any(|entry| {
            let differing = self.attributes.differing(entry);
            match entry.kind {
                // A link has no mode of its own.
                FileKind::Link => differing.is_some_and(|d| d.owner.is_some() || d.group.is_some()),
                _ => differing.is_some(),
            }
        }))
    }

    async fn link(self) -> Result<Plan, Failure> {
        let now = self.now.as_deref();
        let state = now.map_or("absent", state_name);
        let src = match (&self.src, now) {
            (Some(src), _) => Some(src.clone()),
            (None, Some(now)) if self.args.follow && now.kind == FileKind::Link => {
                Some(now.link_text.clone())
            }
            (None, _) => None,
        };
        let folder = match state {
            "directory" => self.path.as_str(),
            _ => host_path::parent(&self.path).unwrap_or(""),
        };
        let leads = match &src {
            Some(src) => self.cx.target.stat(&host_path::join(folder, src)).await?,
            None => None,
        };
        if let Some(src) = &src
            && leads.is_none()
            && !self.args.force
        {
            let shown = host_path::join(folder, src);
            let message = format!(
                "src file does not exist, use 'force=yes' if you really want to create the link: {shown}"
            );
            return Err(self.failure(message).value("src", src.as_str()));
        }
        let refusing = format!("refusing to convert from {state} to symlink for {}", self.path);
        match state {
            "directory" if !self.args.force => return Err(self.failure(refusing)),
            "directory" if !self.cx.target.list(&self.path, false).await?.is_empty() => {
                let message = format!("the directory {} is not empty, refusing to convert it", self.path);
                return Err(self.failure(message));
            }
            "file" | "hard" if !self.args.force => return Err(self.failure(refusing)),
            _ => {}
        }
        let Some(src) = src else {
            return match state {
                // An existing link, looked at for itself.
                "link" => {
                    let step = now.and_then(|now| self.attribute_step(&self.path, now, false));
                    let plan = step.into_iter().fold(Plan::ok(), Plan::step).value("src", Val::Null);
                    Ok(self.done(plan, "dest", now))
                }
                _ => Err(Failure::new("src is required for creating new symlinks")),
            };
        };
        let mut plan = Plan::ok().value("src", src.as_str());
        if now.is_none_or(|now| now.kind != FileKind::Link || now.link_text != src) {
            let effect = Effect::Link {
                path: self.path.clone(),
                target: src.clone(),
                hard: false,
                force: now.is_some(),
            };
            plan = plan.step(Step::file(format!("link {} to {src}", self.path), effect));
        }
        match (&leads, self.args.follow) {
            (Some(leads), true) => {
                let path = host_path::join(folder, &src);
                plan = self.attribute_step(&path, leads, true).into_iter().fold(plan, Plan::step);
            }
            (None, true) => plan.warnings.push(
                "Cannot set fs attributes on a non-existent symlink target. follow should be set to False \
                 to avoid this."
                    .into(),
            ),
            (_, false) => {
                let made = Stat { kind: FileKind::Link, mode: 0o777, ..Stat::default() };
                let ownership = FileArgs { mode: None, ..self.attributes.clone() };
                if let Some(attributes) =
                    ownership.differing(now.filter(|n| n.kind == FileKind::Link).unwrap_or(&made))
                {
                    let effect = Effect::Attributes {
                        path: self.path.clone(),
                        attributes,
                        recurse: false,
                        follow: false,
                    };
                    plan = plan.step(Step::file(format!("set attributes of {}", self.path), effect));
                }
            }
        }
        let link_now = now.filter(|now| now.kind == FileKind::Link);
        Ok(self.done(plan, "dest", link_now))
    }

    async fn hard(self) -> Result<Plan, Failure> {
        let now = self.now.as_deref();
        let state = now.map_or("absent", state_name);
        let Some(src) = &self.src else {
            return match now {
                Some(now) if state == "hard" => {
                    let step = self.attribute_step(&self.path, now, true);
                    let plan = step.into_iter().fold(Plan::ok(), Plan::step).value("src", Val::Null);
                    Ok(self.done(plan, "dest", Some(now)))
                }
                _ => Err(Failure::new("src is required for creating new hardlinks")),
            };
        };
        let failure = |message: &str| {
            Failure::new(message).value("dest", self.path.as_str()).value("src", src.as_str())
        };
        let Some(source) = self.cx.target.stat(src).await? else {
            return Err(failure("src does not exist"));
        };
        let itself = self.cx.target.stat_with(src, false, None).await?;
        let same = now.is_some_and(|n| n.inode == source.inode && n.device == source.device);
        let different = "Cannot link, different hard link exists at destination";
        match state {
            "hard" if !same && !self.args.force => return Err(failure(different)),
            "directory" => return Err(failure("Cannot link: a directory exists at destination")),
            "file" if !self.args.force => return Err(failure("Cannot link, file exists at destination")),
            _ => {}
        }
        let mut plan = Plan::ok().value("src", src.as_str());
        if !same {
            let effect = Effect::Link {
                path: self.path.clone(),
                target: if self.args.follow { host_path::real(src, itself.as_deref()) } else { src.clone() },
                hard: true,
                force: now.is_some(),
            };
            plan = plan.step(Step::file(format!("link {} to {src}", self.path), effect));
        }
        plan = self.attribute_step(&self.path, &source, true).into_iter().fold(plan, Plan::step);
        let linked = if same { now } else { None };
        Ok(self.done(plan, "dest", linked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_python_reads_them() {
        assert_eq!(local_time("197001020000.01", "%Y%m%d%H%M.%S"), Ok(86401.0));
        assert_eq!(local_time("1970-01-02", "%Y-%m-%d"), Ok(86400.0));
        assert!(local_time("nope", "%Y").unwrap_err().contains("nope using format %Y"));
        assert_eq!(
            (offset_seconds("+0130"), offset_seconds("-0500"), offset_seconds("")),
            (5400.0, -18000.0, 0.0)
        );
    }
}
