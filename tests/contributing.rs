//! The example in CONTRIBUTING.md compiles, and works as a module.

#![allow(dead_code)]

/// The first Rust block of CONTRIBUTING.md, kept equal to it by the test below.
mod marker {
    use serde::Deserialize;

    use seqn_play::module::{Failure, Module, Plan, PlanCx, Step};
    use seqn_play::remote::{Attributes, Content, Effect, Expect};

    /// Makes sure that a marker file exists.
    pub struct Marker;

    /// Arguments of `marker`.
    #[derive(Debug, Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct Args {
        /// Where the file is.
        #[serde(alias = "dest")]
        pub path: String,
    }

    impl Module for Marker {
        type Args = Args;
        const NAME: &'static str = "marker";
        const COLLECTION: &'static str = "seqn.play";

        async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
            if cx.target.stat(&args.path).await?.is_some() {
                return Ok(Plan::ok());
            }
            Ok(Plan::ok().step(Step::file(
                format!("write {}", args.path),
                Effect::Write {
                    path: args.path,
                    content: Content::Text("done\n".into()),
                    attributes: Attributes::default(),
                    expect: Expect::Absent,
                    validate: None,
                    backup: false,
                },
            )))
        }
    }
}

/// Lines without indentation, and without the name of the crate, which differs outside of it.
fn essence(code: &str) -> Vec<String> {
    code.lines()
        .map(|l| l.trim().replace("seqn_play::", "crate::"))
        .filter(|l| !l.is_empty() && !l.starts_with("//!"))
        .collect()
}

#[test]
fn the_example_is_the_one_in_the_text() {
    let text = include_str!("../CONTRIBUTING.md");
    let example = text.split("```rust\n").nth(1).and_then(|t| t.split("```").next()).expect("an example");
    let here = include_str!("contributing.rs");
    let module =
        here.split("mod marker {\n").nth(1).and_then(|t| t.split("\n}\n").next()).expect("the module");
    assert_eq!(essence(module), essence(example));
}

#[test]
fn it_registers_in_one_line_with_its_arguments() {
    let entry = seqn_play::module::entry::<marker::Marker>();
    assert_eq!((entry.name, entry.collection), ("marker", "seqn.play"));
    assert_eq!((entry.known_args)(), ["dest", "path"]);
}
