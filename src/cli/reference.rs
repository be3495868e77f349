//! The reference page of all commands, made from the command line itself: `docs/commands.md` is held against it by a test.

#![cfg(test)]

use clap::{Arg, Command};
use serde_json::Value;

/// The page as Markdown.
fn page() -> String {
    let mut command = super::command();
    command.build();
    let mut page = String::from(
        "# Commands\n\nThis page is made from the command line itself; a test keeps it true. To renew it: \
         `MERIDIAN_RENEW=1 cargo test --bin meridian reference`.\n\n\
         Data goes to stdout, everything else to stderr. Output is plain where stdout is not a terminal, and without colour \
         where `NO_COLOR` is set.\n\n\
         | exit code | means |\n| --- | --- |\n| 0 | succeeded |\n| 1 | the rollout was rolled back or failed; a journal does not verify |\n\
         | 2 | wrong use, or an invalid file |\n| 3 | needs attention, or held with `--detach-on-hold` |\n\
         | 4 | the store, the sandbox or a server could not be reached |\n| 130 | interrupted; the run stays resumable |\n\n\
         Everywhere:\n\n",
    );
    let global: Vec<&Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).collect();
    options(&mut page, &global);
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        describe(&mut page, verb, verb.get_name());
    }
    page
}

fn describe(page: &mut String, verb: &Command, name: &str) {
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    page.push_str(&format!("\n## `{name}`\n\n{about}.\n\n```text\n{usage}\n```\n\n"));
    let own: Vec<&Arg> = verb
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && arg.get_id() != "help")
        .collect();
    options(page, &own);
    if let Some(more) = verb.get_after_help() {
        page.push_str(&format!("\n{more}\n"));
    }
    for act in verb.get_subcommands().filter(|act| act.get_name() != "help") {
        describe(page, act, &format!("{name} {}", act.get_name()));
    }
}

fn options(page: &mut String, arguments: &[&Arg]) {
    for argument in arguments.iter().filter(|argument| !argument.is_hide_set()) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let mut line = format!("- `{argument}`: {help}");
        let defaults: Vec<String> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        if argument.get_action().takes_values() && !defaults.is_empty() {
            line.push_str(&format!(" (default `{}`)", defaults.join(" ")));
        }
        let choices: Vec<String> = argument
            .get_possible_values()
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if argument.get_action().takes_values() && !choices.is_empty() && choices.len() < 12 {
            line.push_str(&format!("; one of {}", choices.join(", ")));
        }
        page.push_str(&line);
        page.push('\n');
    }
}

/// The page of the language's keys, made of its JSON Schema.
fn keys() -> String {
    let schema = meridian_workflows::schema::schema(&crate::world::vocabulary());
    let mut page = String::from(
        "# Keys\n\nEvery key of the language. This page is made from the tables that the decoder itself reads by; a test keeps it true. \
         To renew it: `MERIDIAN_RENEW=1 cargo test --bin meridian reference`. What the keys mean together: [language.md](language.md).\n",
    );
    let definitions = schema["$defs"].as_object().unwrap();
    let first = [
        "workflow",
        "library",
        "phase",
        "strategy",
        "stage",
        "region",
        "gate",
        "metricGate",
        "metric",
    ];
    let rest = definitions
        .keys()
        .map(String::as_str)
        .filter(|name| !first.contains(name));
    for name in first.into_iter().chain(rest) {
        let definition = &definitions[name];
        let about = definition["description"].as_str().unwrap_or_default();
        page.push_str(&format!("\n## `{name}`\n\n{about}\n\n| key | means |\n| --- | --- |\n"));
        let required: Vec<&str> = definition["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|key| key.as_str())
            .collect();
        for (key, value) in definition["properties"].as_object().into_iter().flatten() {
            let means = value["description"].as_str().unwrap_or_default().replace('|', "\\|");
            let needed = if required.contains(&key.as_str()) {
                " (required)"
            } else {
                ""
            };
            page.push_str(&format!("| `{key}`{needed} | {means}{} |\n", link(value, definitions)));
        }
    }
    page
}

/// Where a key's own keys stand.
fn link(value: &Value, definitions: &serde_json::Map<String, Value>) -> String {
    let text = value.to_string();
    let named = |name: &&String| text.contains(&format!("\"#/$defs/{name}\""));
    definitions
        .keys()
        .find(named)
        .map(|name| format!(": [{name}](#{})", name.to_lowercase()))
        .unwrap_or_default()
}

fn held(page: &str, name: &str) {
    let file = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("MERIDIAN_RENEW").is_some() {
        std::fs::write(&file, page).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        stored, page,
        "renew it with MERIDIAN_RENEW=1 cargo test --bin meridian reference"
    );
}

#[test]
fn the_reference_page_is_what_the_command_line_says() {
    held(&page(), "commands.md");
}

#[test]
fn the_reference_of_keys_is_what_the_decoder_reads() {
    held(&keys(), "keys.md");
}

#[test]
fn the_command_line_makes_sense() {
    super::command().debug_assert();
}
