//! The command line, its examples and the page about it.

use std::{fs, path::Path};

use clap::{Command as Clap, FromArgMatches as _};

use super::Program;
use crate::settings;

/// Commands that have none below them, by what is typed for them.
fn leaves(command: &Clap) -> Vec<&Clap> {
    let inside: Vec<_> =
        command.get_subcommands().filter(|inside| inside.get_name() != "help").collect();
    if inside.is_empty() {
        return vec![command];
    }
    inside.into_iter().flat_map(leaves).collect()
}

fn examples(command: &Clap) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().map(str::trim);
    lines.filter(|line| line.contains("evoke ") && !line.contains('·')).map(str::to_owned).collect()
}

/// Words of a line as a shell sees them, up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut blanks = 0;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => {
                blanks += 1;
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if blanks > 1 {
                    break;
                }
                continue;
            }
            (None, '>' | '|') => break,
            (_, c) => word.push(c),
        }
        blanks = 0;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words.into_iter().skip_while(|word| word != "evoke").collect()
}

#[test]
fn every_command_has_examples_and_each_is_understood() {
    let mut program = settings::program();
    program.build();
    for command in leaves(&program) {
        let name = command.get_bin_name().unwrap_or_default();
        let examples = examples(command);
        assert!(examples.iter().any(|line| line.contains(name)), "no example of `{name}`");
        for line in examples {
            let matches = settings::program().try_get_matches_from(words(&line));
            let matches = matches.unwrap_or_else(|error| panic!("{line}: {error}"));
            // The settings of these two are read later, out of more than the command line.
            if !["up", "config"].contains(&matches.subcommand_name().unwrap_or_default()) {
                let read = Program::from_arg_matches(&matches);
                read.unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }
}

#[test]
fn words_are_those_of_a_shell() {
    assert_eq!(words("A=1 evoke x -p a '{\"b\": 1}' > f"), ["evoke", "x", "-p", "a", "{\"b\": 1}"]);
    assert_eq!(words("evoke dev \"$A B\"  a comment"), ["evoke", "dev", "$A B"]);
}

/// EVOKE_WRITE=1 writes the page anew.
#[test]
fn the_page_about_the_command_line_is_fresh() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let written = evoke_cli::reference(settings::program());
    if std::env::var_os("EVOKE_WRITE").is_some() {
        fs::write(&page, &written).unwrap();
    }
    assert!(
        fs::read_to_string(page).unwrap_or_default() == written,
        "docs/cli.md is stale: run this test with EVOKE_WRITE=1"
    );
}
