//! `include_tasks` and `include_role`: what was asked for, grouped over hosts as Ansible does.

use crate::playbook::{IncludeRole, IncludeTasks};
use crate::source::Val;

/// One thing to include, as one Instance (or loop item) asked for it.
#[derive(Debug, Clone)]
pub struct Inclusion {
    pub kind: Kind,
    /// Loop variables that the included tasks see.
    pub vars: Vec<(String, Val)>,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Tasks {
        include: Box<IncludeTasks>,
        file: String,
    },
    Role {
        include: Box<IncludeRole>,
        name: String,
        from: [Option<String>; 4],
        public: bool,
        allow_duplicates: bool,
    },
}

impl Inclusion {
    pub fn tasks(include: &IncludeTasks, file: String, vars: Vec<(String, Val)>) -> Inclusion {
        Inclusion { kind: Kind::Tasks { include: Box::new(include.clone()), file }, vars }
    }

    pub fn role(
        include: &IncludeRole,
        name: String,
        from: [Option<String>; 4],
        public: bool,
        allow_duplicates: bool,
        vars: Vec<(String, Val)>,
    ) -> Inclusion {
        Inclusion {
            kind: Kind::Role { include: Box::new(include.clone()), name, from, public, allow_duplicates },
            vars,
        }
    }

    /// As people call it: the file, or the role.
    pub fn what(&self) -> &str {
        match &self.kind {
            Kind::Tasks { file, .. } => file,
            Kind::Role { name, .. } => name,
        }
    }

    /// Two hosts that ask for the same thing with the same variables take it together.
    pub fn same_as(&self, other: &Inclusion) -> bool {
        let same_thing = match (&self.kind, &other.kind) {
            (Kind::Tasks { file: a, .. }, Kind::Tasks { file: b, .. }) => a == b,
            (Kind::Role { name: a, from: f, .. }, Kind::Role { name: b, from: g, .. }) => a == b && f == g,
            _ => false,
        };
        same_thing && self.vars == other.vars
    }

    /// The item that asked for it, for `included: … => (item=…)`.
    pub fn item(&self) -> Option<&Val> {
        let name = self.vars.iter().find(|(n, _)| n == "ansible_loop_var")?.1.as_str()?;
        self.vars.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}
