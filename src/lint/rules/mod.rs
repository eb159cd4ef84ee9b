//! Every policy rule, one line each.

mod change;
mod env_edit_not_dotenv;
mod high_blast_radius_unproven;
mod literal_secret;
mod rotation_one_way;
mod rotation_without_backup;
mod rotation_without_verification;

use super::Rule;

pub static RULES: &[&Rule] = &[
    &env_edit_not_dotenv::RULE,
    &high_blast_radius_unproven::RULE,
    &literal_secret::RULE,
    &rotation_one_way::RULE,
    &rotation_without_backup::RULE,
    &rotation_without_verification::RULE,
];

pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name).copied()
}
