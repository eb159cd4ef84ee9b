//! Every module, one line each.

use super::{Entry, entry};

pub static MODULES: &[Entry] = &[
    entry::<super::age_decrypt::AgeDecrypt>(),
    entry::<super::blockinfile::BlockInFile>(),
    entry::<super::dotenv::Dotenv>(),
    entry::<super::lineinfile::LineInFile>(),
    entry::<super::postgresql::query::PostgresqlQuery>(),
    entry::<super::postgresql::user::PostgresqlUser>(),
    entry::<super::replace::Replace>(),
];

/// By short or fully qualified name (`copy`, `ansible.builtin.copy`, `ansible.legacy.copy`).
pub fn find(name: &str) -> Option<&'static Entry> {
    let (collection, short) = match name.rsplit_once('.') {
        Some(("ansible.legacy", short)) => (Some("ansible.builtin"), short),
        Some((collection, short)) => (Some(collection), short),
        None => (None, name),
    };
    MODULES.iter().find(|m| m.name == short && collection.is_none_or(|c| c == m.collection))
}
