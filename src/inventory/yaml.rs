//! YAML inventories: groups with `hosts`, `children` and `vars`.

use super::{Entity, GroupName, Inventory, Sealed, Source, address, names};
use crate::source::node::OpenVault;
use crate::source::{Diagnostic, Diagnostics, Entry, Kind, Node, Severity, Val};

struct Reader<'a> {
    inventory: &'a mut Inventory,
    problems: &'a mut Diagnostics,
    source: Source<'a>,
    vault: OpenVault<'a>,
}

/// Reads a YAML inventory into `inventory`, past every error. An empty document has no hosts.
pub(super) fn read(
    document: &Node,
    source: Source,
    vault: OpenVault,
    inventory: &mut Inventory,
    problems: &mut Diagnostics,
) {
    let mut reader = Reader { inventory, problems, source, vault };
    match &document.kind {
        Kind::Null => {}
        Kind::Map(groups) if document.get("plugin").is_some() => {
            let at = groups.iter().find(|e| e.key.as_str() == Some("plugin")).map_or(document, |e| &e.key);
            reader.error("inventory plugins are not supported", at).help =
                Some("write a YAML or ini inventory, or an executable script that answers to --list".into());
        }
        Kind::Map(groups) => groups.iter().for_each(|group| {
            reader.group(group);
        }),
        _ => {
            let message = format!(
                "YAML inventory has invalid structure, it should be a dictionary, got: {}",
                document.type_name()
            );
            reader.error(message, document);
        }
    }
}

impl Reader<'_> {
    fn report(&mut self, severity: Severity, message: String, at: &Node) -> &mut Diagnostic {
        let mut d = Diagnostic::error("inventory", message, &at.span);
        d.severity = severity;
        self.problems.0.push(d);
        let last = self.problems.0.len() - 1;
        &mut self.problems.0[last]
    }

    fn error(&mut self, message: impl Into<String>, at: &Node) -> &mut Diagnostic {
        self.report(Severity::Error, message.into(), at)
    }

    fn warning(&mut self, message: impl Into<String>, at: &Node) {
        self.report(Severity::Warning, message.into(), at);
    }

    fn group(&mut self, entry: &Entry) -> Option<GroupName> {
        let Some(name) = entry.key.as_str().filter(|n| !n.is_empty()) else {
            let message = format!("a group name must be a string, not {}", entry.key.type_name());
            self.error(message, &entry.key).help = Some("put quotes around it".into());
            return None;
        };
        let sections = match &entry.value.kind {
            Kind::Map(sections) => sections.as_slice(),
            Kind::Null => &[],
            _ => {
                self.warning(
                    format!("Skipping '{name}' as this is not a valid group definition"),
                    &entry.key,
                );
                return None;
            }
        };
        names::check_group(name, &entry.key.span, self.problems);
        let group = self.inventory.add_group(name);
        for section in sections {
            self.section(&group, section);
        }
        Some(group)
    }

    fn section(&mut self, group: &GroupName, section: &Entry) {
        let kind = section.key.as_str().unwrap_or_default();
        if !matches!(kind, "hosts" | "children" | "vars") {
            let message = format!(
                "Skipping unexpected key ({}) in group ({group}), only \"vars\", \"children\" and \"hosts\" \
                 are valid",
                section.key.as_str().unwrap_or_else(|| section.key.type_name())
            );
            self.warning(message, &section.key);
            return;
        }
        // `hosts: web1` is `hosts: {web1: }`.
        let short = [Entry {
            key: section.value.clone(),
            value: Node { span: section.value.span.clone(), kind: Kind::Null },
        }];
        let entries = match &section.value.kind {
            Kind::Null => return,
            Kind::Map(entries) => entries.as_slice(),
            Kind::Text { .. } => &short,
            _ => {
                let message = format!(
                    "Invalid \"{kind}\" entry for \"{group}\" group, requires a dictionary, found {} instead.",
                    section.value.type_name()
                );
                let help = match (&section.value.kind, kind) {
                    (Kind::List(_), "hosts" | "children") => {
                        Some(format!("write each of the {kind} as a key with a colon: `name:`"))
                    }
                    _ => None,
                };
                self.error(message, &section.value).help = help;
                return;
            }
        };
        for entry in entries {
            match kind {
                "hosts" => self.host(group, entry),
                "vars" => {
                    if let Some(var) = self.variable(entry) {
                        self.set(Entity::Group(group.clone()), &var);
                    }
                }
                _ => {
                    if let Some(child) = self.group(entry)
                        && let Err(why) = self.inventory.add_child(group, &child)
                    {
                        self.error(why, &entry.key);
                    }
                }
            }
        }
    }

    fn host(&mut self, group: &GroupName, entry: &Entry) {
        let Some(pattern) = entry.key.as_str().filter(|n| !n.is_empty()) else {
            let message = format!("a host name must be a string, not {}", entry.key.type_name());
            self.error(message, &entry.key).help = Some("put quotes around it".into());
            return;
        };
        let vars = match &entry.value.kind {
            Kind::Map(vars) => vars.as_slice(),
            Kind::Null => &[],
            _ => {
                let message = format!(
                    "the variables of host \"{pattern}\" must be a dictionary, found {}",
                    entry.value.type_name()
                );
                self.error(message, &entry.value);
                return;
            }
        };
        let (hosts, port) = match address::expand(pattern) {
            Ok(expanded) => expanded,
            Err(why) => {
                self.error(why, &entry.key);
                return;
            }
        };
        let vars: Vec<Variable> = vars.iter().filter_map(|v| self.variable(v)).collect();
        for host in hosts {
            let host = self.inventory.add_listed_host(&host, port, Some(self.source.path));
            self.inventory.join(group, &host);
            for var in &vars {
                self.set(Entity::Host(host.clone()), var);
            }
        }
    }

    fn variable(&mut self, entry: &Entry) -> Option<Variable> {
        let Some(name) = entry.key.as_str() else {
            let message = format!("a variable name must be a string, not {}", entry.key.type_name());
            self.error(message, &entry.key);
            return None;
        };
        names::check_variable(name, &entry.key.span, self.problems);
        let value =
            entry.value.to_val(self.vault).map(|value| self.source.value(value)).map_err(|(span, why)| {
                Diagnostic::error("vault", format!("cannot decrypt {name}: {why}"), &span)
            });
        Some((name.into(), value))
    }

    fn set(&mut self, owner: Entity, (name, value): &Variable) {
        match value {
            Ok(value) => self.inventory.set_var(&owner, name.clone(), value.clone()),
            Err(problem) => self.inventory.seal(Sealed { owner, problem: problem.clone() }),
        }
    }
}

/// A name and its value, or why it could not be decrypted.
type Variable = (Val, Result<Val, Diagnostic>);
