//! `--tags` and `--skip-tags` (Ansible: playbook/taggable.py).

/// Whether a task with `tags` runs. `always` runs unless skipped by name, `never` only when asked
/// for; `tagged`, `untagged` and `all` are special.
pub fn selected(tags: &[String], only: &[String], skip: &[String]) -> bool {
    let has = |list: &[String], tag: &str| list.iter().any(|t| t == tag);
    let meets = |list: &[String]| tags.iter().any(|t| has(list, t));
    let untagged = tags.is_empty();
    let always = has(tags, "always") && !has(skip, "always");
    let asked = (has(only, "all") && !has(tags, "never"))
        || meets(only)
        || (has(only, "tagged") && !untagged && !has(tags, "never"))
        || (has(only, "untagged") && untagged);
    let wanted = only.is_empty() || always || asked;
    let wanted = wanted && (!only.is_empty() || !has(tags, "never"));
    if !wanted || skip.is_empty() {
        return wanted;
    }
    let skipped = if has(skip, "all") {
        !has(tags, "always") || has(skip, "always")
    } else {
        meets(skip) || (has(skip, "tagged") && !untagged) || (has(skip, "untagged") && untagged)
    };
    !skipped
}

#[cfg(test)]
mod tests {
    use super::selected;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn follows_ansible() {
        // tags of the task, --tags, --skip-tags, runs
        let cases = [
            ("", "", "", true),
            ("a", "", "", true),
            ("never", "", "", false),
            ("never a", "a", "", true),
            ("never a", "never", "", true),
            ("never", "all", "", false),
            ("a", "b", "", false),
            ("a b", "b", "", true),
            ("always", "b", "", true),
            ("always", "b", "always", false),
            ("", "tagged", "", false),
            ("a", "tagged", "", true),
            ("", "untagged", "", true),
            ("a", "untagged", "", false),
            ("a", "all", "", true),
            ("a", "", "a", false),
            ("always", "", "all", true),
            ("a", "", "all", false),
            ("a", "", "tagged", false),
            ("", "", "untagged", false),
            ("always a", "", "a", false),
        ];
        for (tags, only, skip, runs) in cases {
            assert_eq!(
                selected(&list(tags), &list(only), &list(skip)),
                runs,
                "{tags:?} --tags {only:?} --skip-tags {skip:?}"
            );
        }
    }
}
