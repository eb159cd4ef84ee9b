//! `user`: an account of the host.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::group::{State, succeeded};
use super::{Failure, Module, Plan, PlanCx, Step, host_path};
use crate::remote::{Command, Effect};
use crate::source::{Map, Text, Val};

/// Makes, changes or removes an account.
pub struct User;

/// Arguments of `user`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Name of the account.
    #[serde(alias = "user")]
    pub name: String,
    /// `present` or `absent`.
    #[serde(default)]
    pub state: State,
    /// The account's number.
    pub uid: Option<u32>,
    /// Primary group.
    pub group: Option<String>,
    /// Further groups; an empty list means none.
    pub groups: Option<Vec<String>>,
    /// Add to `groups` instead of replacing the further groups.
    #[serde(default)]
    pub append: bool,
    /// Login shell.
    pub shell: Option<String>,
    /// Home folder.
    pub home: Option<String>,
    /// Make the home folder of a new account.
    #[serde(default = "yes", alias = "createhome")]
    pub create_home: bool,
    /// Move what is in the old home folder when `home` changes.
    #[serde(default)]
    pub move_home: bool,
    /// The hash of the password, as it stands in the shadow file.
    pub password: Option<Text>,
    /// `always`, or `on_create` for new accounts only.
    #[serde(default)]
    pub update_password: UpdatePassword,
    /// Lock or unlock the password.
    pub password_lock: Option<bool>,
    /// The account's full name.
    pub comment: Option<String>,
    /// A new account is a system account.
    #[serde(default)]
    pub system: bool,
    /// Another account may have the same number.
    #[serde(default)]
    pub non_unique: bool,
    /// With `absent`: remove the home folder and the mail too.
    #[serde(default)]
    pub remove: bool,
    /// With `absent`: even if the account is logged in.
    #[serde(default)]
    pub force: bool,
}

/// When a password is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdatePassword {
    #[default]
    Always,
    OnCreate,
}

fn yes() -> bool {
    true
}

/// An account as it is on the host.
#[derive(Debug, Clone, Default, PartialEq)]
struct Account {
    uid: u32,
    gid: u32,
    comment: String,
    home: String,
    shell: String,
    group: String,
    groups: BTreeSet<String>,
    /// Of the shadow file, where it may be read.
    hash: Option<String>,
}

const REMOVED: &str = "an account that was removed can be made again only by hand, from a backup";

impl Module for User {
    type Args = Args;
    const NAME: &'static str = "user";
    const SECRET_ARGS: &'static [&'static str] = &["password"];

    fn one_way(args: &Val) -> Option<&'static str> {
        (args.get("state")?.as_str()? == "absent").then_some(REMOVED)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let said = cx.target.query(Command::shell(look(&args.name))).await?;
        let found =
            match said.status {
                0 => Some(parse(&said.stdout_text()).ok_or_else(|| {
                    Failure::new(format!("the host's entry of {} can't be read", args.name))
                })?),
                2 => None,
                127 => return Err(Failure::new("the host has no getent")),
                other => return Err(Failure::new(format!("getent ended with status {other}"))),
            };
        let plan = Plan::ok().value("name", args.name.as_str()).value("state", args.state.name());
        match (args.state, found) {
            (State::Absent, None) => Ok(plan),
            (State::Absent, Some(_)) => Ok(removal(&args, plan)),
            (State::Present, None) => Ok(then_look(creation(&args, plan), args.name)),
            (State::Present, Some(account)) => {
                let steps = changes(&args, &account);
                let plan = plan.value("append", args.append).value("move_home", args.move_home);
                if steps.is_empty() {
                    return Ok(Plan { result: joined(plan.result, shown(&account)), ..Plan::ok() });
                }
                Ok(then_look(Plan { steps, ..plan }, args.name))
            }
        }
    }
}

/// The entry, primary group, all groups and hash; status 2 if there is no such account.
fn look(name: &str) -> String {
    let name = host_path::quote(name);
    format!(
        "getent passwd {name} || exit\nid -gn {name}\nid -Gn {name}\n\
         getent shadow {name} 2>/dev/null | cut -d: -f2\nexit 0"
    )
}

fn parse(text: &str) -> Option<Account> {
    let mut lines = text.lines();
    let fields: Vec<&str> = lines.next()?.split(':').collect();
    let [_, _, uid, gid, comment, home, shell] = fields[..] else { return None };
    let group = lines.next().unwrap_or_default().to_string();
    let groups = lines.next().unwrap_or_default().split_whitespace().map(String::from);
    Some(Account {
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        comment: comment.into(),
        home: home.into(),
        shell: shell.into(),
        groups: groups.filter(|g| *g != group).collect(),
        group,
        hash: lines.next().map(String::from),
    })
}

fn shown(account: &Account) -> Map {
    let text = |text: &str| Val::from(text);
    [
        ("uid", Val::Int(account.uid.into())),
        ("group", Val::Int(account.gid.into())),
        ("comment", text(&account.comment)),
        ("home", text(&account.home)),
        ("shell", text(&account.shell)),
        ("groups", Val::from(account.groups.iter().cloned().collect::<Vec<_>>().join(","))),
    ]
    .into_iter()
    .map(|(name, value)| (Val::from(name), value))
    .collect()
}

fn joined(mut first: Map, more: Map) -> Map {
    first.extend(more);
    first
}

/// After the steps: what the account is like now.
fn then_look(plan: Plan, name: String) -> Plan {
    plan.finish(move |outputs| {
        succeeded(outputs)?;
        let look = Step::passing(format!("look at the account {name}"), Command::shell(look(&name)));
        Ok(Plan::ok().step(look).finish(|outputs| {
            let text = outputs.last().map(|o| o.stdout_text()).unwrap_or_default();
            let result = parse(&text).map(|account| shown(&account)).unwrap_or_default();
            Ok(Plan { result, changed: Some(true), ..Plan::ok() })
        }))
    })
}

fn command(program: &str, options: Vec<String>, name: &str) -> Effect {
    let mut argv = vec![program.to_string()];
    argv.extend(options);
    argv.push(name.to_string());
    Effect::Run(Command::argv(argv))
}

fn options(pairs: Vec<(&str, Option<String>)>) -> Vec<String> {
    pairs.into_iter().filter_map(|(flag, value)| Some([flag.to_string(), value?])).flatten().collect()
}

fn creation(args: &Args, plan: Plan) -> Plan {
    let mut given = options(vec![
        ("-u", args.uid.map(|u| u.to_string())),
        ("-g", args.group.clone()),
        ("-G", args.groups.as_ref().filter(|g| !g.is_empty()).map(|g| g.join(","))),
        ("-c", args.comment.clone()),
        ("-d", args.home.clone()),
        ("-s", args.shell.clone()),
    ]);
    given.push(if args.create_home { "-m" } else { "-M" }.into());
    given.extend(args.system.then(|| "-r".into()));
    given.extend(args.non_unique.then(|| "-o".into()));
    let back = if args.create_home { vec!["-r".to_string()] } else { vec![] };
    let label = format!("make the account {}", args.name);
    let made = command("useradd", given, &args.name);
    let mut plan = plan
        .value("create_home", args.create_home)
        .value("system", args.system)
        .step(Step::with_inverse(label, made, command("userdel", back, &args.name)));
    if let Some(hash) = &args.password {
        plan = plan.step(set_hash(&args.name, hash, Some("!")));
    }
    match args.password_lock {
        Some(true) => plan.step(lock(&args.name, true)),
        _ => plan,
    }
}

fn removal(args: &Args, plan: Plan) -> Plan {
    let mut given = Vec::new();
    given.extend(args.force.then(|| "-f".to_string()));
    given.extend(args.remove.then(|| "-r".to_string()));
    let step = Step::one_way(
        format!("remove the account {}", args.name),
        command("userdel", given, &args.name),
        REMOVED,
    );
    plan.value("remove", args.remove).value("force", args.force).step(step).finish(succeeded)
}

/// What has to change, each with what takes it back.
fn changes(args: &Args, now: &Account) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut change = |what: &str, flags: Vec<String>, back: Vec<String>| {
        let label = format!("change the {what} of the account {}", args.name);
        let (to, from) = (command("usermod", flags, &args.name), command("usermod", back, &args.name));
        steps.push(Step::with_inverse(label, to, from));
    };
    let pair = |flag: &str, value: &str| vec![flag.to_string(), value.to_string()];
    if let Some(uid) = args.uid.filter(|u| *u != now.uid) {
        let with = |number: u32| {
            let mut flags = pair("-u", &number.to_string());
            flags.extend(args.non_unique.then(|| "-o".into()));
            flags
        };
        change("number", with(uid), with(now.uid));
    }
    if let Some(group) = args.group.as_ref().filter(|g| **g != now.group && **g != now.gid.to_string()) {
        change("group", pair("-g", group), pair("-g", &now.gid.to_string()));
    }
    if let Some(groups) = &args.groups {
        let given: BTreeSet<String> = groups.iter().filter(|g| **g != now.group).cloned().collect();
        let wanted = if args.append { now.groups.union(&given).cloned().collect() } else { given };
        if wanted != now.groups {
            let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
            change("groups", pair("-G", &list(&wanted)), pair("-G", &list(&now.groups)));
        }
    }
    if let Some(comment) = args.comment.as_ref().filter(|c| **c != now.comment) {
        change("comment", pair("-c", comment), pair("-c", &now.comment));
    }
    if let Some(home) = args.home.as_ref().filter(|h| **h != now.home) {
        let with = |home: &str| {
            let mut flags = pair("-d", home);
            flags.extend(args.move_home.then(|| "-m".into()));
            flags
        };
        change("home", with(home), with(&now.home));
    }
    if let Some(shell) = args.shell.as_ref().filter(|s| **s != now.shell) {
        change("shell", pair("-s", shell), pair("-s", &now.shell));
    }
    let is_new = |hash: &Text| {
        now.hash.as_deref().map(|h| h.trim_start_matches('!')) != Some(hash.trim_start_matches('!'))
    };
    if let Some(hash) = args.password.as_ref().filter(|h| is_new(h))
        && args.update_password == UpdatePassword::Always
    {
        steps.push(set_hash(&args.name, hash, now.hash.as_deref()));
    }
    let is_locked = now.hash.as_deref().is_some_and(|h| h.starts_with('!'));
    if let Some(wanted) = args.password_lock.filter(|w| *w != is_locked) {
        steps.push(lock(&args.name, wanted));
    }
    steps
}

/// On standard input: a hash in the arguments would be seen by every process of the host.
fn set_hash(name: &str, hash: &Text, before: Option<&str>) -> Step {
    let with = |hash: &str| {
        let line = Text::secret(format!("{name}:{hash}\n"));
        Effect::Run(Command::argv(["chpasswd", "-e"]).stdin(line))
    };
    let label = format!("set the password of the account {name}");
    match before {
        Some(before) => Step::with_inverse(label, with(hash), with(before)),
        None => Step::one_way(label, with(hash), "the password before could not be read"),
    }
}

fn lock(name: &str, wanted: bool) -> Step {
    let (to, from) = if wanted { ("-L", "-U") } else { ("-U", "-L") };
    let verb = if wanted { "lock" } else { "unlock" };
    let run = |flag: &str| command("usermod", vec![flag.to_string()], name);
    Step::with_inverse(format!("{verb} the password of the account {name}"), run(to), run(from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args;

    fn account() -> Account {
        parse("ada:x:1000:1001:Ada:/home/ada:/bin/sh\nada\nada wheel docker\n$6$x\n").unwrap()
    }

    fn given(values: &[(&'static str, Val)]) -> Args {
        let named = [("name", Val::from("ada"))].into_iter().chain(values.iter().cloned());
        args::from_val(&args::args(named)).unwrap()
    }

    #[test]
    fn an_entry_is_read() {
        let account = account();
        assert_eq!((account.uid, account.gid, account.shell.as_str()), (1000, 1001, "/bin/sh"));
        assert_eq!(account.groups, BTreeSet::from(["docker".to_string(), "wheel".to_string()]));
        assert_eq!(account.hash.as_deref(), Some("$6$x"));
    }

    #[test]
    fn only_what_differs_changes() {
        let labels = |values: &[(&'static str, Val)]| -> Vec<String> {
            changes(&given(values), &account()).into_iter().map(|s| s.label).collect()
        };
        assert!(labels(&[]).is_empty());
        assert!(labels(&[("shell", "/bin/sh".into()), ("password", "$6$x".into())]).is_empty());
        assert!(labels(&[("groups", Val::from(vec!["wheel"])), ("append", true.into())]).is_empty());
        assert_eq!(labels(&[("groups", Val::from(vec!["wheel"]))]), ["change the groups of the account ada"]);
        assert_eq!(
            labels(&[("uid", Val::Int(5)), ("password", "$6$y".into())]),
            ["change the number of the account ada", "set the password of the account ada"]
        );
        let on_create = [("password", Val::from("$6$y")), ("update_password", "on_create".into())];
        assert!(labels(&on_create).is_empty());
    }

    #[test]
    fn a_hash_never_stands_in_arguments() {
        let steps = changes(&given(&[("password", "$6$y".into())]), &account());
        let Effect::Run(command) = &steps[0].effect else { panic!() };
        assert!(!format!("{:?}", command.program).contains("$6$"));
        assert!(command.stdin.as_ref().is_some_and(Text::is_secret));
    }
}
