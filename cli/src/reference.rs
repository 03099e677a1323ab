//! The page about the command line, written of what clap knows of it.

use clap::{Arg, Command};

use crate::options::HUB;

const BEGINNING: &str = "\
# The command line

This page is written by the program of its own definitions; `evoke COMMAND --help` says the same.

Words of `wsk` mean here what they mean there: `-p KEY VALUE`, `-P FILE`, `-a KEY VALUE`, `-b`, `-r`,
`--limit`, `--skip`, `--last`, and names such as `package/action` or `/namespace/package/action`.
";

/// The whole page.
#[must_use]
pub fn reference(mut program: Command) -> String {
    program.build();
    let mut page = BEGINNING.to_owned();
    page.push_str("\n## Options of every command that speaks to a hub\n\n");
    let with_hub = program.get_subcommands().find(|command| hub_options(command).next().is_some());
    let options: Vec<&Arg> = with_hub.into_iter().flat_map(hub_options).collect();
    page.push_str(&table(&options));
    page.push_str(&format!("\n{}\n", paragraph(crate::EXIT_CODES)));
    for command in program.get_subcommands() {
        describe(command, &mut page);
    }
    page
}

fn hub_options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_help_heading() == Some(HUB))
}

/// A section for the command, and one for each below it.
fn describe(command: &Command, page: &mut String) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    page.push_str(&format!("\n## {name}\n\n"));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        page.push_str(&format!("{about}.\n\n").replace("..\n", ".\n"));
    }
    let inside: Vec<&Command> =
        command.get_subcommands().filter(|inside| inside.get_name() != "help").collect();
    if inside.is_empty() {
        let usage = command.clone().render_usage().to_string();
        page.push_str(&format!("    {}\n", usage.trim_start_matches("Usage: ").trim()));
        let own: Vec<&Arg> = command
            .get_arguments()
            .filter(|arg| arg.get_help_heading() != Some(HUB) && !arg.is_hide_set())
            .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
            .collect();
        if !own.is_empty() {
            page.push('\n');
            page.push_str(&table(&own));
        }
    }
    if let Some(help) = command.get_after_help() {
        let help = help.to_string();
        if help != crate::EXIT_CODES {
            page.push_str(&format!("\n{}\n", paragraph(&help)));
        }
    }
    for inside in inside {
        describe(inside, page);
    }
}

/// Text as it stands: examples and lists are aligned by hand.
fn paragraph(text: &str) -> String {
    format!("```text\n{}\n```", text.trim_end())
}

fn table(args: &[&Arg]) -> String {
    let rows: Vec<String> = args.iter().map(|arg| row(arg)).collect();
    format!("| | |\n|---|---|\n{}", rows.concat())
}

fn row(arg: &Arg) -> String {
    let values: Vec<String> = match arg.get_value_names() {
        Some(names) if arg.get_action().takes_values() => {
            names.iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    };
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let shown = if names.is_empty() {
        format!("`{}`", values.join(" "))
    } else {
        let last = names.len() - 1;
        let name = |(index, name): (usize, &String)| match (index == last, values.is_empty()) {
            (true, false) => format!("`{name} {}`", values.join(" ")),
            _ => format!("`{name}`"),
        };
        names.iter().enumerate().map(name).collect::<Vec<_>>().join(", ")
    };
    let mut says = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if !says.ends_with('.') {
        says.push('.');
    }
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !possible.is_empty() && arg.get_action().takes_values() {
        says.push_str(&format!(" One of {}.", possible.join(", ")));
    }
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        says.push_str(&format!(" Default: `{}`.", defaults.join(" ")));
    }
    if let Some(variable) = arg.get_env() {
        says.push_str(&format!(" Or the variable `{}`.", variable.to_string_lossy()));
    }
    format!("| {shown} | {} |\n", says.replace('|', "\\|").replace('\n', " "))
}
